"""What two readings of `troth.toml` differ in, and how each difference comes into force at run time.

Pure, but for `fingerprints`, which reads the files that the settings name: a schema that was rewritten under
its old name is a change as well.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

import msgspec

from troth.core.files import read_up_to
from troth.core.settings import Document, DomainSettings, Settings, UserSettings

How = Literal["live", "web", "instances", "restart"]
"""At once; by replacing the instances of the web service, or all instances, one after the other without a
gap; or only when the platform is started again."""

KeyPath = tuple[str, ...]

MOST_READ = 1 << 20
"""Files up to so many bytes are compared by what is in them, larger ones by size and time."""

_SHOWN = 60
_NONE = "–"


class Rule(msgspec.Struct, frozen=True):
    """How a key comes into force; `why` says for people what to do instead, or what comes of it."""

    how: How
    why: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One key that differs. `before` and `after` are for people; settings hold no secret, they name files."""

    key: str
    how: How
    before: str
    after: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.before} → {self.after}"


class Changes(msgspec.Struct, frozen=True):
    """All differences, in the order of the file."""

    all: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Change, ...]:
        """What only a start brings into force."""
        return tuple(one for one in self.all if one.how == "restart")

    @property
    def renews_edge(self) -> bool:
        """Whether the edge has to read a file again that it is told by name."""
        return any(one.key.startswith("acme.") for one in self.all)

    @property
    def replaces_web(self) -> bool:
        return any(one.how in ("web", "instances") for one in self.all)

    @property
    def replaces_applications(self) -> bool:
        return any(one.how == "instances" for one in self.all)


_RELEASE = Rule("live", "comes with the next troth deploy, or start")
_WEB = Rule("web")
_LIVE = Rule("live")

_OF_BACKUPS = (
    *("every_hours", "incremental_minutes", "keep_daily", "keep_weekly", "keep_monthly"),
    *("keep_keys_days", "key_epoch_days"),
)
"""How often, and how long they stay: the next look at the store goes by it."""

RULES: Mapping[KeyPath, Rule] = {
    ("version",): Rule("restart"),
    ("platform",): Rule("restart", "the platform's name and place stand for the whole of its run"),
    ("edge",): Rule("restart", "addresses and ports are taken at the start"),
    ("database",): Rule("restart", "troth replicas add and remove change the members while it runs"),
    ("certificates",): Rule("restart", "what was issued already lives as long as it says"),
    ("web",): _WEB,  # its size too: the connections to the database are shared out among its instances
    ("mail",): _LIVE,
    ("logging",): Rule("instances"),
    ("tracing",): _LIVE,
    ("alerts",): _LIVE,
    ("passwords",): _WEB,
    ("acme",): _LIVE,
    ("dns",): _WEB,
    ("outgoing",): _LIVE,
    ("backup",): Rule("restart", "a backup or a drill of one may be under way"),
    **{("backup", name): _LIVE for name in _OF_BACKUPS},
    ("network",): Rule("restart", "networks are made at the start"),
    ("firewall",): Rule("live", "comes into force with troth firewall apply"),
    ("regions",): _LIVE,
    ("places",): _LIVE,
    ("tenants",): _LIVE,
    ("domains",): _LIVE,
    ("apps",): _LIVE,
    ("apps", "*", "target"): _RELEASE,
    ("apps", "*", "folder"): _RELEASE,
    ("apps", "*", "public"): _WEB,
    ("apps", "*", "memory_mebibytes"): Rule("instances"),
    ("roles",): _LIVE,
    ("collections",): _WEB,
    ("clients",): _LIVE,
    ("users",): _LIVE,
}
"""The longest that fits counts; `*` is any name."""

WHOLE: Mapping[KeyPath, Rule] = {
    ("mail",): Rule("restart", "whether there is a relay decides which parts run"),
    ("tracing",): Rule("instances", "instances write spans from their start on"),
    ("apps", "*"): Rule("web", "its own instances are started, or ended"),
}
"""The same for a table that was not there before, or is not any more."""


def compare(old: Settings, new: Settings, before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """Every key in which they differ. `before` and `after` are the fingerprints of the files that they name,
    as they were read."""
    found = list(_differences(old, new, ()))
    told = {change.key for change in found}
    rewritten = [key for key in after if key in before and before[key] != after[key] and key not in told]
    found += [_change(tuple(key.split("\n")), "its contents", "other contents") for key in rewritten]
    return Changes(tuple(found))


def fingerprints(settings: Settings) -> dict[str, str]:
    """Of each file that the settings name, by its key path (joined by line breaks, which no key has)."""
    return {
        "\n".join(path): _fingerprint(file)
        for path, file in _files(settings, ())
        if path[-1] not in ("folder", "file", "binaries", "certificates")
    }


def rule_of(path: KeyPath, *, whole: bool = False) -> Rule:
    """How a change of this key comes into force."""
    if whole:
        for pattern, rule in WHOLE.items():
            if len(pattern) == len(path) and _fits(pattern, path):
                return rule
    fitting = [pattern for pattern in RULES if _fits(pattern, path)]
    return RULES[max(fitting, key=len)]


def _fits(pattern: KeyPath, path: KeyPath) -> bool:
    beginning = path[: len(pattern)]
    return len(beginning) == len(pattern) and all(
        part in ("*", name) for part, name in zip(pattern, beginning, strict=True)
    )


def _differences(old: object, new: object, path: KeyPath) -> Iterator[Change]:
    if old == new:
        return
    before, after = _parts(old), _parts(new)
    if before is None or after is None:
        whole = (before is None) != (after is None)
        yield _change(path, _words(old), _words(new), whole=whole)
        return
    for name in dict.fromkeys((*before, *after)):
        if name not in before:
            yield _change((*path, name), _NONE, _words(after[name]), whole=True)
        elif name not in after:
            yield _change((*path, name), _words(before[name]), _NONE, whole=True)
        else:
            yield from _differences(before[name], after[name], (*path, name))


def _parts(value: object) -> dict[str, object] | None:
    """What a table consists of, by name; None for what is compared as one value."""
    match value:
        case Settings():
            return {name: getattr(value, name) for name in Document.__struct_fields__}
        case msgspec.Struct():
            return {name: getattr(value, name) for name in value.__struct_fields__}
        case dict():
            return cast("dict[str, object]", value)
        case tuple() if named := _named(cast("tuple[object, ...]", value)):
            return named
        case _:
            return None


def _named(rows: tuple[object, ...]) -> dict[str, object]:
    """Domains by their names, users by tenant and address; their order means nothing."""
    named: dict[str, object] = {}
    for row in rows:
        if isinstance(row, DomainSettings):
            named[row.name] = row
        elif isinstance(row, UserSettings):
            named[f"{row.tenant}/{row.email}"] = row
    return named


def _change(path: KeyPath, before: str, after: str, *, whole: bool = False) -> Change:
    rule = rule_of(path, whole=whole)
    return Change(key=".".join(path), how=rule.how, before=before, after=after, why=rule.why)


def _words(value: object) -> str:
    match value:
        case None | ():
            return _NONE
        case bool():
            return str(value).lower()
        case tuple() if not _named(cast("tuple[object, ...]", value)):
            words = ", ".join(map(str, cast("tuple[object, ...]", value)))
        case msgspec.Struct() | dict() | tuple():
            return "a table"
        case _:
            words = str(value) or _NONE
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 1]}…"


def _files(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, Path]]:
    if isinstance(value, Path):
        yield path, value
        return
    for name, part in (_parts(value) or {}).items():
        yield from _files(part, (*path, name))


def _fingerprint(file: Path) -> str:
    """What is not there has none: whether it must be is another's question."""
    try:
        seen = file.stat()
        if seen.st_size > MOST_READ:
            return f"{seen.st_size} {seen.st_mtime_ns}"
        return hashlib.sha256(read_up_to(file, MOST_READ)).hexdigest()
    except OSError:
        return ""
