"""On a running platform: a backup is drilled by itself and on request; a flipped bit turns it red."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from support.person import signed_in, ticket
from support.platform import ANNA, Troth, ended, state_folder, troth, until
from support.rounds import in_many_rounds

pytestmark = [pytest.mark.timeout(600), pytest.mark.chaos, in_many_rounds]


async def test_a_flipped_bit_in_the_store_turns_the_promise_red_until_it_is_mended() -> None:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            done = running.up("--detach")
            assert done.status == 0, done.output + done.errors
            async with signed_in(running, ANNA) as anna:
                filed = await anna.call("POST", "tickets", json=ticket("Lift"))
            assert filed.status_code == 201, filed.text
            first = await until(
                lambda: drilled(running), lambda last: last is not None, seconds=240, what="the first drill"
            )
            assert first is not None
            assert first["problem"] == ""
            assert first["rows"] > 0
            assert first["canaries"] > 0
            assert first["survived"] == first["acknowledged"] > 0
            turned = await asyncio.to_thread(troth, "keys", "epoch", "--json", "--state", root)
            assert json.loads(turned.output)["destroyed"] == [2], turned.output + turned.errors
            again = await asyncio.to_thread(troth, "backup", "drill", "--json", "--state", root)
            assert again.status == 0, again.output + again.errors
            assert json.loads(again.output)["tenant_keys"] == json.loads(turned.output)["tenant_keys"] > 0
            async with signed_in(running, ANNA) as anna:
                assert [one["title"] for one in await anna.all("tickets")] == ["Lift"]
            planted = await asyncio.to_thread(troth, "drill", "data.backups", "--json", "--state", root)
            (one,) = json.loads(planted.output)["drills"]
            assert (one["before"], one["during"], one["after"]) == ("proved", "broken", "proved"), one
            await red_and_green(running)


async def red_and_green(running: Troth) -> None:
    root = running.state.root
    victim = next(iter(sorted((root.with_name(f"{root.name}-backups")).glob("*/base/*/data"))))
    assert await verdict(running) == "proved"
    flip(victim)
    assert await verdict(running) == "broken"
    flip(victim)
    assert await verdict(running) == "proved"


async def verdict(running: Troth) -> str:
    return (await running.factsheet())["data.backups"]["verdict"]


async def drilled(running: Troth) -> dict[str, Any] | None:
    return (await running.status())["backup_drills"]["last"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
