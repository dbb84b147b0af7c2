"""What the kernel says of its packet filter (`nft -j list ruleset`), read: pure.

Two rulesets are the same when their canonical forms are: handles, counts and times of expiry differ between
two loads of one text, and mean nothing.
"""

from collections.abc import Collection
from typing import Any, cast

import msgspec

from troth.hosting.firewall.rules import FAMILY, HELD, TABLE, trial_end

_PASSING = frozenset({"handle", "index", "packets", "bytes", "expires", "metainfo"})
_LEADS_AWAY = {
    "dnat": "gives packets another target",
    "redirect": "leads packets to another port",
    "tproxy": "hands packets to a proxy",
    "fwd": "passes packets to another interface",
    "dup": "copies packets elsewhere",
    "xt": "uses an extension of iptables, which may redirect",
}
_BEFORE_US = frozenset({"prerouting", "ingress", "input", "forward"})
_PAST_US = frozenset({"fwd", "dup"})
"""What acts on the interface itself, where none of our chains sees the packet again."""

Json = dict[str, Any]


class Bypass(msgspec.Struct, frozen=True, order=True):
    """A rule of another table that leads incoming packets around ours: where it stands and what it does.

    `stopped` when our own chains drop what it redirects; otherwise nothing of ours sees it.
    """

    table: str
    chain: str
    what: str
    stopped: bool

    def __str__(self) -> str:
        return f"a rule in {self.table}, chain {self.chain}, {self.what}"


def read(answer: bytes) -> list[Json]:
    """The objects of `nft -j`."""
    held = msgspec.json.decode(answer, type=dict[str, list[Json]])
    return [one for one in held["nftables"] if "metainfo" not in one]


def ours(ruleset: list[Json]) -> list[Json]:
    """What belongs to our table, the table itself included."""
    return [one for one in ruleset if _table_of(one) == (FAMILY, TABLE)]


def canonical(objects: list[Json]) -> bytes:
    """The same bytes for the same rules. Whose connections the kernel counts now is no part of them."""
    kept = [_strip(one) for one in without_elements(objects, HELD)]
    rules = [one for one in kept if "rule" in one]
    rest = [one for one in kept if "rule" not in one]
    # The order of rules is their meaning; that of everything else is not.
    ordered = sorted(rest, key=msgspec.json.encode)
    return msgspec.json.encode([*ordered, *rules], order="sorted")


def without_elements(objects: list[Json], sets: Collection[str]) -> list[Json]:
    """The same, with these sets empty."""
    return [
        {"set": {name: held for name, held in one["set"].items() if name != "elem"}}
        if one.get("set", {}).get("name") in sets
        else one
        for one in objects
    ]


def unconfirmed(ruleset: list[Json]) -> tuple[str, int] | None:
    """The chain that marks rules on trial, and when the trial ends (seconds since 1970)."""
    for one in ours(ruleset):
        name = str(one.get("chain", {}).get("name", ""))
        if (ends := trial_end(name)) is not None:
            return name, ends
    return None


def counts(ruleset: list[Json]) -> dict[str, int]:
    """Packets counted by our rules, by the comment of the rule."""
    found: dict[str, int] = {}
    for one in ours(ruleset):
        rule = one.get("rule", {})
        for statement in rule.get("expr", []):
            if comment := rule.get("comment"):
                found[comment] = found.get(comment, 0) + int(statement.get("counter", {}).get("packets", 0))
    return found


def bypasses(ruleset: list[Json]) -> tuple[Bypass, ...]:
    """Rules of other tables that a packet from outside may meet, and that lead it elsewhere."""
    return tuple(sorted({found for table in _tables(ruleset) for found in _bypasses_of(ruleset, table)}))


def _tables(ruleset: list[Json]) -> list[tuple[str, str]]:
    return [one for one in dict.fromkeys(map(_table_of, ruleset)) if one not in ((FAMILY, TABLE), ("", ""))]


def _bypasses_of(ruleset: list[Json], table: tuple[str, str]) -> list[Bypass]:
    rules = [one["rule"] for one in ruleset if "rule" in one and _table_of(one) == table]
    met = _met(ruleset, rules, table)
    return [
        Bypass(" ".join(table), rule["chain"], _LEADS_AWAY[kind], kind not in _PAST_US)
        for rule in rules
        if rule["chain"] in met
        for kind in _statements(rule)
        if kind in _LEADS_AWAY
    ]


def _met(ruleset: list[Json], rules: list[Json], table: tuple[str, str]) -> set[str]:
    """The chains that a packet from outside may go through: the hooked ones, and those that they jump to."""
    chains = [one["chain"] for one in ruleset if "chain" in one and _table_of(one) == table]
    met = {one["name"] for one in chains if one.get("hook") in _BEFORE_US}
    while more := {to for rule in rules if rule["chain"] in met for to in _jumps(rule["expr"])} - met:
        met |= more
    return met


def _statements(rule: Json) -> list[str]:
    return [kind for statement in rule.get("expr", []) for kind in statement]


def _jumps(value: object) -> set[str]:
    """Where a rule jumps to, within a verdict map too."""
    if isinstance(value, list):
        return {to for one in cast("list[object]", value) for to in _jumps(one)}
    if not isinstance(value, dict):
        return set()
    held = cast("Json", value)
    here = {
        str(cast("Json", target).get("target", ""))
        for kind, target in held.items()
        if kind in ("jump", "goto") and isinstance(target, dict)
    }
    return here | {to for one in held.values() for to in _jumps(one)}


def _table_of(one: Json) -> tuple[str, str]:
    (kind, held), *_ = one.items()
    name = held.get("name") if kind == "table" else held.get("table")
    return str(held.get("family", "")), str(name or "")


def _strip(value: object) -> Any:
    if isinstance(value, list):
        return [_strip(one) for one in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    held = cast("Json", value)
    stripped = {name: _strip(one) for name, one in held.items() if name not in _PASSING}
    if isinstance(stripped.get("elem"), list):
        stripped["elem"] = sorted(stripped["elem"], key=msgspec.json.encode)
    return stripped
