"""`troth replicas` on a running platform: its members change, and no acknowledged write is lost by it."""

import asyncio
import json
from typing import Any

import pytest

from support.load import Tally, Writer, stored
from support.person import signed_in
from support.platform import ANNA, MARKUS, Done, Troth, troth, until
from support.rounds import in_many_rounds, tell


async def change(platform: Troth, *words: str) -> Done:
    return await asyncio.to_thread(
        troth, "replicas", *words, "--state", str(platform.state.root), seconds=300
    )


async def listed(platform: Troth) -> dict[str, Any]:
    return json.loads((await change(platform, "list", "--json")).output)


async def test_the_lead_is_handed_over_when_asked_and_that_is_noted(platform: Troth) -> None:
    await platform.whole()
    before = await platform.leader()
    done = await change(platform, "switchover")
    assert done.status == 0, done.errors
    after = await platform.leader()
    assert f"{after} leads" in done.output
    assert after != before
    noted = (await listed(platform))["failovers"][-1]
    assert (noted["old"], noted["new"]) == (before, after)
    assert noted["cause"] == f"{before} handed its lead over on request"
    assert noted["seconds"] < 30
    evidence = (await platform.factsheet())["data.replicas"]["evidence"]
    assert f"{after} took over from {before}" in evidence


async def test_the_status_says_who_leads_and_whether_a_write_would_survive(platform: Troth) -> None:
    await platform.whole()
    leader = await platform.leader()

    async def sentence() -> str:
        return str((await platform.status())["replica_set"]["now"])

    def is_safe(said: str) -> bool:
        counts = said.startswith(f"{leader} leads, and a write counts once member-")
        return counts and said.endswith("it would survive the loss of the leader now.")

    await until(sentence, is_safe, seconds=60, what="the status tells of a safe set")


async def test_a_change_that_cannot_be_is_refused_with_what_can(platform: Troth) -> None:
    await platform.whole()
    nobody = await change(platform, "switchover", "member-9")
    assert nobody.status == 1
    assert "cannot take the lead" in nobody.errors
    assert "Those that can: member-" in nobody.errors
    gone = await change(platform, "remove", "member-9")
    assert gone.status == 1
    assert "There is no member 'member-9'" in gone.errors
    other = await change(platform, "upgrade", "--binaries", "/nowhere")
    assert other.status == 1
    assert "/nowhere" in other.errors


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_members_are_added_upgraded_and_removed_under_load_and_nothing_is_lost(
    platform: Troth, capsys: pytest.CaptureFixture[str]
) -> None:
    """The member that is added comes to lead at last, and the instances find it."""
    await platform.whole()
    before = present(platform)
    async with signed_in(platform, ANNA) as anna, signed_in(platform, MARKUS) as markus:
        writer = Writer(anna, Tally())
        writing = asyncio.create_task(writer.run())
        await writer.wrote(20, seconds=60)
        leader = await platform.leader()
        for words in (("add",), ("upgrade",), ("switchover", "member-4"), ("remove", leader)):
            done = await change(platform, *words)
            assert done.status == 0, done.output + done.errors
        assert await platform.leader() == "member-4"
        await writer.wrote(20, seconds=60)
        writer.stop.set()
        await writing
        await markus.renew()
        assert await stored(markus, writer.sent) == dict.fromkeys(writer.tally.acknowledged, 1)
    tell(
        capsys,
        f"a member added, all upgraded, the lead handed over, a member removed: {writer.tally.gap:.1f} s "
        f"without a write at most, {len(writer.tally.acknowledged)} acknowledged, 0 lost, 0 twice",
    )
    assert present(platform) == before - {leader} | {"member-4"}
    assert not (platform.state.members / leader).exists()
    assert {one["name"] for one in (await listed(platform))["members"]} == present(platform)


def present(platform: Troth) -> set[str]:
    """The members that the state folder holds."""
    return {folder.parent.name for folder in platform.state.members.glob("*/data")}
