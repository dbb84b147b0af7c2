"""Whether a customer's domain is the customer's: a TXT record that only its owner can set.

The value is random and made anew for each tenant and domain, so that a record which was set for one tenant
says nothing about another (a domain that changes hands is proved again).
"""

from typing import Literal

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
import msgspec

from troth.core.errors import PlatformError
from troth.core.secret import equal, new_token

LABEL = "_troth-challenge"
PREFIX = "troth-domain-verification="
SECONDS = 5.0
"""For the whole question, whichever servers are asked."""

MOST_RECORDS = 64
"""An answer with more of them is not looked at: it must not be work without an end."""

Seen = Literal["absent", "other", "unreachable"]


class NotOwned(PlatformError):
    """The record does not stand there. `seen` says what does: no record, other records, or no answer."""

    def __init__(self, public: str, *, seen: Seen, hint: str = "", detail: str = "") -> None:
        super().__init__(public, hint=hint, detail=detail)
        self.seen: Seen = seen


class Challenge(msgspec.Struct, frozen=True):
    """What the owner of `domain` has to publish."""

    domain: str
    token: str

    @property
    def name(self) -> str:
        """The full name of the record."""
        return f"{LABEL}.{self.domain}"

    @property
    def value(self) -> str:
        """The text of the record."""
        return f"{PREFIX}{self.token}"

    @property
    def record(self) -> str:
        """As a line of a zone file (RFC 1035 section 5.1), to be copied."""
        return f'{self.name}. 300 IN TXT "{self.value}"'


class NameServers(msgspec.Struct, frozen=True):
    """Whom to ask, as IP addresses; none means those that this machine uses (resolv.conf(5))."""

    addresses: tuple[str, ...] = ()
    port: int = 53


def new_challenge(domain: str) -> Challenge:
    """A challenge with a token of 256 random bits."""
    return Challenge(domain, new_token())


async def require_ownership(challenge: Challenge, servers: NameServers, *, seconds: float = SECONDS) -> None:
    """Ask for the record. Raises NotOwned with the next step unless it stands there."""
    try:
        texts = await _read_texts(challenge.name, servers, seconds)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise NotOwned(
            f"There is no TXT record at {challenge.name} yet.",
            seen="absent",
            hint=f"Publish it, wait until it can be seen, and check again: {challenge.record}",
        ) from None
    except (dns.exception.DNSException, OSError) as error:
        raise NotOwned(
            f"The name servers of {challenge.domain} could not be asked.",
            seen="unreachable",
            hint="Check again in a minute; nothing was changed.",
            detail=repr(error)[:200],
        ) from None
    if not any(equal(text, challenge.value.encode()) for text in texts):
        raise NotOwned(
            f"The TXT record at {challenge.name} says something else.",
            seen="other",
            hint=f"It has to be: {challenge.record}",
        )


async def _read_texts(name: str, servers: NameServers, seconds: float) -> list[bytes]:
    """Each TXT record as one string, its parts joined (RFC 7208 section 3.3 reads them so too)."""
    resolver = dns.asyncresolver.Resolver(configure=not servers.addresses)
    if servers.addresses:
        resolver.nameservers = list(servers.addresses)
        resolver.port = servers.port
    answer = await resolver.resolve(name, dns.rdatatype.TXT, lifetime=seconds, search=False)
    return [b"".join(record.strings) for record in answer] if len(answer) <= MOST_RECORDS else []
