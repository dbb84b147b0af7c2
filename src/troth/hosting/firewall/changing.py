"""Applying, confirming and taking back the rules. What is confirmed stands in a file, the rest in the kernel.

Rules are applied on trial: together with them comes a chain that marks them, and a process that takes them
back after a minute. `confirm` and that process each begin with deleting the chain, so that one of them comes
too late, whoever is killed and wherever the clocks stand.
"""

import fcntl
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.errors import PlatformError, UsageError
from troth.core.secret import write_secret
from troth.core.state import State
from troth.hosting.firewall import reading, reverting, rules
from troth.hosting.firewall.nft import Nft
from troth.hosting.firewall.rules import Opened, Policy, Trial

TRIAL_SECONDS = 60

Resolve = Callable[[Policy], Opened]
"""What the names of a policy lead to now."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds: the confirmed policy, which the keeper looks after, and the one on trial with the
    transaction that takes it back."""

    confirmed: Policy | None = None
    at: datetime | None = None
    trial: Policy | None = None
    chain: str = ""
    back: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the filter stands. What drifted from what was confirmed is `different`; `unknown` rules were not
    confirmed with this state folder. `left` is how long a trial lasts, in seconds."""

    condition: Literal["absent", "on trial", "in force", "different", "missing", "unknown"]
    left: int
    bypasses: tuple[reading.Bypass, ...]
    counts: dict[str, int]
    confirmed: datetime | None

    @property
    def good(self) -> bool:
        return self.condition == "in force" and all(one.stopped for one in self.bypasses)


def apply(policy: Policy, opened: Opened, nft: Nft, state: State, seconds: int = TRIAL_SECONDS) -> Trial:
    """Put the rules in force, on trial. Raises UsageError while others are on trial, PlatformError."""
    with hold(state):
        if reading.unconfirmed(nft.ruleset()) is not None:
            raise UsageError(
                "Rules wait to be confirmed already.", hint="troth firewall confirm, or troth firewall revert"
            )
        trial = Trial(rules.chain_name(int(time.time()) + seconds, secrets.token_hex(8)), seconds)
        back = rules.decide(trial.chain, rules.remove() + nft.text())
        kept = msgspec.structs.replace(read_record(state), trial=policy, chain=trial.chain, back=back)
        _write(state, kept)
        with _armed(nft.program, trial, back):
            nft.run(rules.render(policy, opened, trial))
        return trial


def confirm(resolve: Resolve, nft: Nft, state: State, now: datetime) -> Policy:
    """Keep the rules on trial. Raises UsageError when there are none, or it is too late."""
    with hold(state):
        record, found = read_record(state), reading.unconfirmed(nft.ruleset())
        if found is None:
            raise UsageError(
                "There are no rules that wait to be confirmed.",
                hint="After a minute they are taken back by themselves. Try again: troth firewall apply",
            )
        if record.trial is None or record.chain != found[0]:
            raise UsageError(
                "These rules were applied with another state folder.", hint="Name it with --state FOLDER."
            )
        transaction = rules.render(record.trial, resolve(record.trial))
        nft.run(rules.decide(record.chain, transaction))
        _write(state, Record(confirmed=record.trial, at=now))
        return record.trial


def revert(nft: Nft, state: State) -> Literal["trial", "all"]:
    """Take back the rules on trial, else all of ours. Raises UsageError when there are none."""
    with hold(state):
        record, ruleset = read_record(state), nft.ruleset()
        found = reading.unconfirmed(ruleset)
        if found is not None and record.chain == found[0]:
            nft.run(record.back)
            _write(state, Record(confirmed=record.confirmed, at=record.at))
            return "trial"
        if not reading.ours(ruleset) and record.confirmed is None:
            raise UsageError("There are no rules of Troth's to take back.")
        # First the file: the keeper would put the rules back.
        _write(state, Record())
        nft.run(rules.remove())
        return "all"


def repair(opened: Opened, nft: Nft, state: State) -> Literal["", "addresses", "drift"]:
    """Put the confirmed rules back in force where they are not; says what had changed. Rules on trial are
    left alone, and so is a machine on which nothing was confirmed."""
    with hold(state, wait=False) as held:
        record, ruleset = read_record(state), nft.ruleset()
        if not held or record.confirmed is None or reading.unconfirmed(ruleset) is not None:
            return ""
        wanted = rules.render(record.confirmed, opened)
        found, expected = reading.ours(ruleset), nft.expected(wanted)
        if reading.canonical(found) == reading.canonical(expected):
            return ""
        same = reading.canonical(without_elements(found)) == reading.canonical(without_elements(expected))
        # A table that is made anew counts the connections that are held from nothing.
        nft.run(rules.render_addresses(opened) if same else wanted)
        return "addresses" if same else "drift"


def stand(record: Record, ruleset: list[reading.Json], expected: list[reading.Json], now: float) -> Standing:
    """Pure: how the filter stands. Which addresses the names of the policy lead to makes no difference."""
    found, trial = reading.ours(ruleset), reading.unconfirmed(ruleset)
    condition: Literal["absent", "on trial", "in force", "different", "missing", "unknown"]
    if trial is not None:
        condition = "on trial"
    elif record.confirmed is None:
        condition = "unknown" if found else "absent"
    elif not found:
        condition = "missing"
    else:
        same = reading.canonical(without_elements(found)) == reading.canonical(without_elements(expected))
        condition = "in force" if same else "different"
    return Standing(
        condition=condition,
        left=max(0, trial[1] - int(now)) if trial else 0,
        bypasses=reading.bypasses(ruleset),
        counts=reading.counts(ruleset),
        confirmed=record.at,
    )


def bare(policy: Policy) -> str:
    """The transaction of a policy whose names lead nowhere: enough to compare all but the addresses."""
    return rules.render(policy, Opened((), ()))


def without_elements(objects: list[reading.Json]) -> list[reading.Json]:
    """The same without the addresses that names lead to, which come and go by themselves."""
    return reading.without_elements(objects, ("reached4", "reached6", "time4", "time6"))


def read_record(state: State) -> Record:
    """What is kept in the state folder. Raises PlatformError for a file that somebody has damaged."""
    try:
        return msgspec.json.decode(_file(state).read_bytes(), type=Record)
    except FileNotFoundError:
        return Record()
    except msgspec.DecodeError as error:
        raise PlatformError(
            f"{_file(state)} cannot be read: {error}.",
            hint="Remove it and apply the rules again: troth firewall apply",
        ) from error


@contextmanager
def hold(state: State, *, wait: bool = True) -> Generator[bool]:
    """One change at a time, whoever makes it: a verb or the keeper. Without `wait`, whether it is ours."""
    descriptor = os.open(state.root / "firewall.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


@contextmanager
def _armed(program: Path, trial: Trial, back: str) -> Generator[None]:
    """What takes the rules back counts from before the block, and gives up when nothing came of it. It
    outlives this process and its terminal."""
    with subprocess.Popen(
        (sys.executable, "-I", "-S", reverting.__file__, str(program), str(trial.seconds), trial.chain),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"LANG": "C.UTF-8"},
        start_new_session=True,
    ) as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        guard.stdin.write(back.encode() + b"\0")
        guard.stdin.flush()
        if guard.stdout.readline() != b"armed\n":
            raise PlatformError("What takes the rules back did not start; nothing was changed.")
        yield


def _file(state: State) -> Path:
    return state.root / "firewall.json"


def _write(state: State, record: Record) -> None:
    write_secret(_file(state), msgspec.json.encode(record))
