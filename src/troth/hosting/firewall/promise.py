"""hosting.firewall: what the kernel has in force is what was confirmed, and a scan from outside sees no more.

Both are needed. Rules that look right may be led around, and a scan from one place says nothing of others.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from troth.core.promise import Drill, Finding, Probe
from troth.hosting.firewall.changing import Standing
from troth.hosting.firewall.visiting import Scan

PROMISE = "hosting.firewall"

_TOLD = 12


class Seen(msgspec.Struct, frozen=True):
    """How the filter stands, which TCP ports may answer, and what a look from outside found."""

    standing: Standing
    public: tuple[int, ...]
    scans: tuple[Scan, ...]


class FirewallView(msgspec.Struct, frozen=True):
    """What the probe needs to see. Whoever may not see the filter has a sentence why in `hidden`."""

    hidden: str
    look: Callable[[], Awaitable[Seen]]


def probe(view: FirewallView) -> Probe:
    """The probe of hosting.firewall."""
    return Probe(PROMISE, lambda: probe_firewall(view))


def drills(
    view: FirewallView, enforced: bool, planted: Callable[[], AbstractAsyncContextManager[None]]
) -> tuple[Drill, ...]:
    """`planted` opens one more port, behind which nobody speaks, for as long as it lasts. There is nothing to
    break where nothing is enforced."""
    if not enforced:
        return ()
    defect = "one more port was open to the world"

    @asynccontextmanager
    async def broken() -> AsyncGenerator[Probe]:
        async with planted():
            yield probe(view)

    return (Drill(PROMISE, defect, broken),)


async def probe_firewall(view: FirewallView) -> Finding:
    """Read the rules, look from outside, and judge both."""
    if view.hidden:
        return Finding("unknown", view.hidden)
    return judge_firewall(await view.look())


def judge_firewall(seen: Seen) -> Finding:
    """The verdict."""
    standing = seen.standing
    raw: dict[str, object] = {
        "condition": standing.condition,
        "bypasses": [str(one) for one in standing.bypasses],
        "answered": {
            one.address: {str(port): how for port, how in one.answered.items()} for one in seen.scans
        },
        "counts": standing.counts,
    }
    if standing.condition in ("absent", "unknown", "on trial"):
        return Finding("unknown", _NOT_YET[standing.condition], raw)
    faults = [*_scan_faults(seen), *_rule_faults(standing)]
    if faults:
        return Finding("broken", "; ".join(faults) + ".", raw)
    silent = [port for port in seen.public if not any(port in one.open for one in seen.scans)]
    if silent:
        ports = ", ".join(map(str, silent))
        return Finding("unknown", f"The rules are in force, but nothing was seen to answer on {ports}.", raw)
    ports = " and ".join(map(str, sorted(seen.public)))
    stopped = (
        f" {len(standing.bypasses)} rules of others that redirect are stopped." if standing.bypasses else ""
    )
    return Finding(
        "proved",
        f"The rules in force are those that were confirmed. All 65,535 TCP ports of "
        f"{', '.join(one.address for one in seen.scans)} were tried from a network outside, on this machine: "
        f"{ports} answered and nothing else.{stopped}",
        raw,
    )


_NOT_YET = {
    "absent": "No rules are in force on this machine. As root: troth firewall apply",
    "unknown": "Rules are in force that were not confirmed for this platform. As root: troth firewall apply",
    "on trial": "Rules are on trial. As root: troth firewall confirm",
}


def _scan_faults(seen: Seen) -> list[str]:
    found: list[str] = []
    for one in seen.scans:
        others = {port: how for port, how in one.answered.items() if port not in seen.public}
        if others:
            told = ", ".join(f"{port} ({how})" for port, how in list(others.items())[:_TOLD])
            more = f" and {len(others) - _TOLD:,} more" if len(others) > _TOLD else ""
            found.append(f"From outside {one.address} answers on {told}{more}")
    return found


def _rule_faults(standing: Standing) -> list[str]:
    found = [f"{one} and cannot be stopped by ours" for one in standing.bypasses if not one.stopped]
    if standing.condition == "missing":
        found.append("the confirmed rules are gone")
    if standing.condition == "different":
        found.append("the rules in force are not those that were confirmed")
    return found
