"""A browser's words about itself, as a person calls it: `Firefox 128, Windows`."""

from functools import lru_cache

import ua_parser

from troth.web.catalogue import Words


def describe_agent(agent: str, words: Words) -> str:
    """Browser and system of a User-Agent header (RFC 9110 section 10.1.5), as far as it tells them. It is the
    browser's own word and helps a person to recognise it; nothing is decided by it."""
    return _known(agent) or words("unknown_device")


@lru_cache(maxsize=512)
def _known(agent: str) -> str:
    found = ua_parser.parse(agent)
    browser = found.user_agent and " ".join(filter(None, (found.user_agent.family, found.user_agent.major)))
    system = found.os and found.os.family
    return ", ".join(filter(None, (browser, system)))
