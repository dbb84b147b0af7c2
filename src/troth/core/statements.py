"""What the text of a statement tells of it: whether it may change something, and which functions it calls.

The answer errs on one side: a statement that only reads may look as if it changed something, never the other
way round. Whether a function has side effects is for the database to say, which keeps it as its volatility.
"""

import re

SIDE_EFFECTS = "select array(select distinct proname::text from pg_proc where provolatile = 'v')"
"""The names of all functions that may change something, in any schema: an array."""

_READS = re.compile(r"\s*(?:select|with|values|table|show)\b", re.IGNORECASE)
_CHANGES = re.compile(
    # `for update` and `select … into` are among them. What is quoted or commented might hide something.
    r"\b(?:insert|update|delete|merge|truncate|into|call|do|copy|lock|share)\b|\bE'|\"\s*\(|\$(?:[a-z_]\w*)?\$|;|--|/\*",
    re.IGNORECASE,
)
_CALLED = re.compile(r"(\w+)\s*\(")


def may_change(statement: str) -> bool:
    """Whether the words of a statement change something, or cannot be read well enough to say no."""
    return not _READS.match(statement) or _CHANGES.search(statement) is not None


def called(statement: str) -> frozenset[str]:
    """Whatever a statement might call, keywords before a parenthesis included; the names alone."""
    return frozenset(name.lower() for name in _CALLED.findall(statement))
