"""A fault of hosts under load: what it cost, and that nothing acknowledged was lost."""

import asyncio
from collections.abc import Awaitable, Callable

from support.hosts import CLIENT, NUMBERS, Hosts, out_of_turn, pause

LEASE_SECONDS = 20.0
"""Patroni's: nobody can know sooner that a leader which is cut off has stopped."""

BOUND_SECONDS = 90.0
"""For a hang alone: on a busy machine a failover takes its time."""

Fault = Callable[[int], Awaitable[object]]


class Told:
    """What a fault cost."""

    def __init__(self, seconds: float, whole: float, writes: int) -> None:
        self.pause, self.whole, self.writes = seconds, whole, writes

    def __str__(self) -> str:
        return f"pause {self.pause:.1f} s, whole again {self.whole:.1f} s later, {self.writes} writes, 0 lost"


async def survive(hosts: Hosts, fault: Fault, *, lasting: float, mend: Callable[[int], object]) -> Told:
    """Let a fault happen to the leader's host under load for so many seconds, mend it, and count."""
    await hosts.ready()
    leader = await hosts.leader()
    clients = [await hosts.client(CLIENT), *[await hosts.client(n, n) for n in NUMBERS]]
    for client in clients:
        await client.start()
    await asyncio.sleep(2)
    await fault(leader)
    await asyncio.sleep(lasting)
    mend(leader)
    began = asyncio.get_running_loop().time()
    await hosts.ready()
    whole = asyncio.get_running_loop().time() - began
    await asyncio.sleep(2)
    told = [await client.stop() for client in clients]
    acknowledged = [ack for acks in told for ack in acks]
    kept = await clients[0].kept()
    for client in clients:
        await client.close()
    assert told[0], "nothing was written"
    assert {ack.number for ack in acknowledged} <= kept
    assert out_of_turn(acknowledged) == []
    assert told[0][-1].at - told[0][0].at > lasting, "writes went on to the end"
    return Told(pause(told[0]), whole, len(acknowledged))


def others(number: int) -> tuple[int, ...]:
    """Everybody else, the writers' host included."""
    return tuple(n for n in (*NUMBERS, CLIENT) if n != number)


def standby_of(leader: int) -> int:
    return next(n for n in NUMBERS if n != leader)
