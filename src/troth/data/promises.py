"""The data promises that can be probed here.

data.encryption    a canary written through the API is in no byte of the state folder
data.passwords     every stored row's scheme, rounds and salt
data.replicas      members, their roles and their synchronous standbys
data.internal_tls  see `data.internal_tls`
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from troth.core.clock import SystemClock
from troth.core.promise import Drill, Finding, Probe
from troth.data.canary import Search, new_marker, search
from troth.data.internal_tls import Hops, probe_internal_tls
from troth.data.internal_tls import drill as drill_internal_tls
from troth.data.survivals import Survived, last_survived, standing_loss

LEAST_ROUNDS = 600_000
LEAST_SALT = 16
"""Bytes."""


class Seen(msgspec.Struct, frozen=True):
    """A database member as the set reports it. `role` is leader, sync_standby, quorum_standby or replica."""

    name: str
    role: str
    state: str


async def nowhere() -> None:
    """For a replica set that runs here."""


class DataView(msgspec.Struct, frozen=True):
    """What the probes need to see of a running platform.

    `plant` writes a marker as a document through the public API, reads it back and returns the algorithm
    named in its stored header; `uproot` deletes it again. `password_hashes` reads scheme, rounds and salt of
    every stored one; `members` asks the replica set, `elsewhere` judges one that does not run here (None when
    it does), `last_failover` tells of its last change of leader, if there was one; `hops` are the ports
    between the parts; `survivals` has every count of acknowledged writes, the newest last.
    """

    state_root: Path
    plant: Callable[[str], Awaitable[str]]
    uproot: Callable[[], Awaitable[None]]
    password_hashes: Callable[[], Awaitable[Sequence[str]]]
    members: Callable[[], Awaitable[tuple[Seen, ...]]]
    hops: Hops
    survivals: Callable[[], tuple[Survived, ...]]
    elsewhere: Callable[[], Awaitable[Finding | None]] = nowhere
    last_failover: Callable[[], str] = lambda: ""


def probes(view: DataView) -> tuple[Probe, ...]:
    """The probes of this room."""
    return (
        Probe("data.encryption", lambda: probe_encryption(view)),
        Probe("data.passwords", lambda: probe_passwords(view)),
        Probe("data.replicas", lambda: probe_replicas(view)),
        Probe("data.internal_tls", lambda: probe_internal_tls(view.hops)),
    )


def drills(
    view: DataView,
    weaken: Callable[[], AbstractAsyncContextManager[None]],
    *without_standby: Callable[[], AbstractAsyncContextManager[str]],
) -> tuple[Drill, ...]:
    """The drills of this room. `weaken` stores a bare SHA-256 as the password of somebody made up and
    `without_standby` takes a standby out of service, each for as long as its block lasts; a set that runs
    elsewhere has none."""
    defect = "a standby was out of service"
    return (
        Drill("data.passwords", "a bare SHA-256 stood among the passwords", lambda: _weakened(view, weaken)),
        drill_internal_tls(view.hops),
        *(Drill("data.replicas", defect, partial(_thinned, view, each)) for each in without_standby[:1]),
    )


@asynccontextmanager
async def _thinned(
    view: DataView, without_standby: Callable[[], AbstractAsyncContextManager[str]]
) -> AsyncGenerator[Probe]:
    async with without_standby():
        yield Probe("data.replicas", lambda: probe_replicas(view))


@asynccontextmanager
async def _weakened(
    view: DataView, weaken: Callable[[], AbstractAsyncContextManager[None]]
) -> AsyncGenerator[Probe]:
    async with weaken():
        yield Probe("data.passwords", lambda: probe_passwords(view))


async def probe_encryption(view: DataView) -> Finding:
    """Plant a canary, search every byte that the platform wrote for it, and take it away again."""
    marker = new_marker()
    try:
        algorithm = await view.plant(marker)
        seen = await asyncio.to_thread(search, view.state_root, marker)
    finally:
        await view.uproot()
    return judge_encryption(seen, algorithm)


def judge_encryption(seen: Search, algorithm: str) -> Finding:
    """The verdict on a search and the algorithm in the stored header."""
    raw: dict[str, object] = {"files": seen.files, "bytes": seen.size, "found": list(seen.found)}
    if seen.found:
        return Finding("broken", f"A canary stands readable in: {', '.join(seen.found[:5])}.", raw)
    if "AES-256" not in algorithm:
        return Finding("broken", f"The stored canary is sealed with {algorithm}, not AES-256.", raw)
    if not seen.files:
        return Finding("unknown", "There was no file to search.", raw)
    return Finding(
        "proved",
        f"A canary written through the API ({algorithm}) is in none of {seen.files} files, "
        f"{seen.size / 1e6:.0f} MB read to the last byte.",
        raw,
    )


async def probe_passwords(view: DataView) -> Finding:
    """Read every stored password hash and judge its scheme, rounds and salt."""
    return judge_passwords(await view.password_hashes())


def judge_passwords(hashes: Sequence[str]) -> Finding:
    """The verdict on stored hashes `pbkdf2-sha256$rounds$salt$…`; what follows is not looked at, save whether
    another system's hash lies inside: it does not weaken the one around it."""
    if not hashes:
        return Finding("unknown", "No password is stored yet.")
    faults = [fault for fault in map(_password_fault, hashes) if fault]
    salts = [stored.split("$")[2] for stored in hashes if stored.count("$") >= 3]
    wrapped = sum(stored.count("$") == 4 for stored in hashes)
    if len(set(salts)) != len(salts):
        faults.append("two rows share a salt")
    raw: dict[str, object] = {"rows": len(hashes), "wrapped": wrapped, "faults": sorted(set(faults))}
    if faults:
        return Finding("broken", f"Of {len(hashes)} stored passwords: {'; '.join(sorted(set(faults)))}.", raw)
    return Finding(
        "proved",
        f"All {len(hashes)} stored passwords are PBKDF2-HMAC-SHA-256 with {LEAST_ROUNDS:,} rounds or more "
        f"and a salt of their own.{_told(wrapped)}",
        raw,
    )


def _told(wrapped: int) -> str:
    if not wrapped:
        return ""
    return f" {wrapped} of them came from another system and lie wrapped in it until their next sign-in."


def _password_fault(stored: str) -> str:
    parts = stored.split("$")
    if len(parts) not in (4, 5) or parts[0] != "pbkdf2-sha256":
        return "one is not PBKDF2-HMAC-SHA-256"
    if not parts[1].isdigit() or int(parts[1]) < LEAST_ROUNDS:
        return f"one has fewer than {LEAST_ROUNDS:,} rounds"
    try:
        salt = base64.b64decode(parts[2] + "=" * (-len(parts[2]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return "one has an unreadable salt"
    return "" if len(salt) >= LEAST_SALT else f"one has a salt below {LEAST_SALT} bytes"


async def probe_replicas(view: DataView) -> Finding:
    """Ask the replica set for its members and judge whether a lost leader would lose nothing, and whether one
    has."""
    history = view.survivals()
    last = last_survived(history, "failover", "interruption", "start")
    loss = standing_loss(history, SystemClock().now())
    elsewhere = await view.elsewhere()
    if elsewhere is not None:
        return with_survival(elsewhere, last=last, loss=loss)
    return judge_replicas(await view.members(), past=view.last_failover(), last=last, loss=loss)


def with_survival(finding: Finding, *, last: Survived | None, loss: Survived | None) -> Finding:
    """The verdict on a set elsewhere, with the counts of acknowledged writes that were made here."""
    if loss is not None:
        return Finding("broken", str(loss), finding.raw | {"loss": msgspec.to_builtins(loss)})
    if last is None or finding.verdict != "proved":
        return finding
    return Finding(finding.verdict, f"{finding.evidence} {last}", finding.raw)


def judge_replicas(
    members: tuple[Seen, ...],
    *,
    past: str = "",
    last: Survived | None = None,
    loss: Survived | None = None,
) -> Finding:
    """The verdict on the set. Members on one machine do not outlive it, and the evidence says so. `past`
    tells of the last failover, `last` is the newest count of acknowledged writes, `loss` one in which some
    were missing."""
    raw: dict[str, object] = {"members": [f"{one.name} {one.role} {one.state}" for one in members]}
    leaders = [one.name for one in members if one.role == "leader" and one.state == "running"]
    standbys = [
        one.name
        for one in members
        if one.role in ("sync_standby", "quorum_standby") and one.state == "streaming"
    ]
    told = ", ".join(f"{one.name} {one.role} {one.state}" for one in members) or "none"
    if loss is not None:
        return Finding("broken", str(loss), raw | {"loss": msgspec.to_builtins(loss)})
    if len(leaders) != 1:
        return Finding("broken", f"There is not exactly one leader: {told}.", raw)
    if len(members) < 3:
        return Finding("broken", f"{len(members)} of 3 members: {told}.", raw)
    if len(standbys) < 2:
        return Finding("broken", f"Fewer than two synchronous standbys stream: {told}.", raw)
    return Finding(
        "proved",
        f"{len(members)} members, leader {leaders[0]}, each write confirmed by a quorum of "
        f"{len(standbys)} synchronous standbys; all on this one machine, so not redundant against its loss."
        f"{f' Last failover: {past}.' if past else ''}{f' {last}' if last else ''}",
        raw,
    )
