"""The watch over a whole platform: metrics, an alert for each fault that arrives by webhook, and how soon."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.platform import RESIDENTS, Troth, ended, example_text, state_folder, troth, until
from support.receiver import Receiver, running_receiver
from support.rounds import in_many_rounds, tell
from troth.core.reach import Visitor
from troth.hosting import processes

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), in_many_rounds]


@asynccontextmanager
async def watched(folder: Path) -> AsyncGenerator[tuple[Troth, Receiver]]:
    """A platform of one member that tells a receiver on this machine."""
    async with running_receiver(folder) as receiver:
        config = folder / "troth.toml"
        text = example_text()
        lines = (
            "[alerts.targets.night]",
            f'webhook = "{receiver.url}"',
            f'secret_file = "{receiver.secret_file}"',
            f'ca = "{receiver.ca}"',
            'region = "IE"',
        )
        config.write_text(text + "\n" + "\n".join(lines) + "\n")
        with state_folder() as root:
            running = Troth(root, members=1)
            with ended(running):
                done = await asyncio.to_thread(
                    troth, "up", *running.arguments(config=config), "--detach", seconds=240
                )
                assert done.status == 0, done.output + done.errors
                await running.whole()
                yield running, receiver


async def told(receiver: Receiver, *keys: str, event: str = "raised", seconds: float = 60.0) -> float:
    """Wait for one of these alerts; returns the seconds until it arrived."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            receiver.came.clear()
            bodies = [json.loads(one.body) for one in receiver.received]
            if any(one["alert"]["key"] in keys and one["type"] == f"alert.{event}" for one in bodies):
                return time.monotonic() - began
            await receiver.came.wait()


async def test_every_fault_is_told_within_seconds_and_the_promise_is_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with watched(tmp_path) as (running, receiver):
        await told(receiver, "test", event="test")
        seen: dict[str, float] = {}

        stopped = running.process("web-1")
        processes.send(stopped, signal.SIGSTOP)
        seen["instance stopped (SIGSTOP)"] = await told(
            receiver, "instance.down/web/web-1", "instance.ill/web/web-1", "instance.replaced/web"
        )
        processes.send(stopped, signal.SIGCONT)

        processes.send(running.process("web-2"), signal.SIGKILL)
        seen["instance killed"] = await told(receiver, "process.ended/web-2")

        processes.send(running.process("edge"), signal.SIGKILL)
        seen["edge killed"] = await told(receiver, "process.ended/edge")

        server, patroni = running.postmaster("member-1"), running.process("member-1")
        processes.send(patroni, signal.SIGKILL)
        processes.send(server, signal.SIGKILL)
        keys = ("database.no_leader", "member.down/member-1", "process.ended/member-1")
        seen["database member killed"] = await told(receiver, *keys)
        figures = ", ".join(f"{fault} after {seconds:.1f} s" for fault, seconds in seen.items())
        tell(capsys, f"told by webhook: {figures}")
        await running.whole(seconds=120)

        metrics = (await asyncio.to_thread(troth, "metrics", "--state", running.state.root)).output
        names = {one.name for family in text_string_to_metric_families(metrics) for one in family.samples}
        assert {"troth_instance_ready", "troth_member_running", "troth_edge_requests_total"} <= names
        assert RESIDENTS not in metrics.replace(f'holder="{RESIDENTS}"', ""), "no label beyond the bounded"

        async def line() -> str:
            return (await running.factsheet())["hosting.monitoring"]["verdict"]

        await until(
            line, lambda verdict: verdict == "proved", seconds=60, what="hosting.monitoring is proved"
        )
        drilled = await asyncio.to_thread(
            troth, "drill", "hosting.monitoring", "--json", "--state", running.state.root
        )
        (one,) = json.loads(drilled.output)["drills"]
        assert one["passed"], one
        async with Visitor(running.face) as visitor:
            assert (await visitor.request("GET", RESIDENTS, "/login")).status_code == 200
