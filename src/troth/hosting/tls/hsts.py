"""Strict-Transport-Security (RFC 6797 section 6.1), read and held against the preload list's rules."""

PRELOAD_MAX_AGE = 31_536_000
"""One year in seconds: the least that the preload list accepts."""


def read_max_age(header: str) -> int | None:
    """In seconds; None when it is absent, doubled or no number."""
    ages = [
        part.removeprefix("max-age=").strip('"')
        for part in _directives(header)
        if part.startswith("max-age=")
    ]
    return int(ages[0]) if len(ages) == 1 and ages[0].isascii() and ages[0].isdigit() else None


def judge_hsts(header: str) -> str:
    """What the preload list would object to in this header; empty when nothing."""
    if not header:
        return "sends no Strict-Transport-Security"
    age = read_max_age(header)
    if age is None or age < PRELOAD_MAX_AGE:
        return "has a max-age below one year"
    missing = [name for name in ("includesubdomains", "preload") if name not in _directives(header)]
    return f"lacks {' and '.join(missing)}" if missing else ""


def _directives(header: str) -> list[str]:
    return [part.strip().lower() for part in header.split(";")]
