"""How the replica set stands, in a sentence for a person: who leads, who confirms, what is missing; pure."""

from collections.abc import Iterable, Mapping

import msgspec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The set at one moment. `confirming` are the standbys whose confirmation the leader waits for; `absent`
    the other members besides the leader, each with what is done about it. `remarks` are on members that do
    their part, and may soon do it no more."""

    size: int
    leader: str | None
    confirming: tuple[str, ...]
    absent: Mapping[str, str]
    remarks: Mapping[str, str] = {}


def explain(standing: Standing) -> str:
    """What a person wants to know: are writes taken, and would they survive the loss of the leader now?"""
    return " ".join(filter(None, (_leading(standing), _told(standing.absent), _told(standing.remarks))))


def describe_absence(condition: str | None, state: str) -> str:
    """What is done about a member that confirms nothing: the condition of its process, None when it has none,
    and what the set last knew of it."""
    if condition is None:
        return "was taken out of service for a moment"
    if condition != "running":
        return "ended and is started again"
    if state in ("running", "streaming"):
        return "does not follow yet"
    return f"is {state}" if state else "is being started"


def _leading(standing: Standing) -> str:
    if standing.leader is None:
        return "Nobody leads: writes wait until the members have elected a leader, which takes seconds."
    if standing.size == 1:
        return (
            f"{standing.leader} leads alone: nothing confirms its writes, and what its disk loses is lost "
            "but for the backups."
        )
    if not standing.confirming:
        return (
            f"{standing.leader} leads, but no standby confirms: writes wait, and none counts that would be "
            "lost with the leader."
        )
    return (
        f"{standing.leader} leads, and a write counts once {_either(standing.confirming)} has it on disk: it "
        "would survive the loss of the leader now."
    )


def _told(members: Mapping[str, str]) -> str:
    return " ".join(f"{name} {doing}." for name, doing in members.items())


def _either(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} or {last}" if most else last
