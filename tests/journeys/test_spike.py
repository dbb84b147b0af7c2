"""Twenty times what the platform is meant to carry: nothing breaks, and everybody is answered in the end."""

import asyncio
import ssl
import time
from collections import Counter
from pathlib import Path

import pytest

from support.platform import OWNERS, RESIDENTS, Troth, ended, example_text, state_folder, troth
from support.rounds import in_many_rounds, tell
from troth.hosting.scaling import Policy

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), in_many_rounds]

INSTANCES = 2
SPIKE = 20 * round(Policy(least=1, most=1).target) * INSTANCES
QUIET = 10
SECONDS = 10.0


class Answers:
    """Of one domain: how many of each status, how long the served took, and refusals that named no time."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.mute = 0
        self.broken: list[str] = []

    def slowest(self, share: float) -> float:
        """The time within which so many of the served were served."""
        return sorted(self.seconds)[int(len(self.seconds) * share)]

    @property
    def served(self) -> int:
        return self.statuses[200]

    @property
    def refused(self) -> int:
        return self.statuses[503]


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(running: Troth, domain: str, context: ssl.SSLContext, count: int) -> list[Stream]:
    """So many connections, before the clock runs: what their handshakes cost this machine is not measured."""
    place = ("127.0.0.1", running.https_port)
    return [await asyncio.open_connection(*place, ssl=context, server_hostname=domain) for _ in range(count)]


async def ask_on(running: Troth, domain: str, stream: Stream, until: float, seen: Answers) -> None:
    """One request after the other; who is refused comes again as soon as it may."""
    authority = running.face.origin(domain).removeprefix("https://")
    request = f"GET /login HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
    reader, writer = stream
    try:
        while time.monotonic() < until:
            began = time.monotonic()
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await reader.readexactly(int(headers["content-length"]))
            status = int(head.split(" ", 2)[1])
            seen.statuses[status] += 1
            if status == 200:
                seen.seconds.append(time.monotonic() - began)
            elif status == 503:
                seen.mute += "retry-after" not in headers
                await asyncio.sleep(float(headers.get("retry-after", "1")))
    except (OSError, EOFError) as error:
        seen.broken.append(repr(error))
    finally:
        writer.transport.abort()


def without_limits(folder: Path) -> Path:
    """The example, one that takes any number of requests from one address and does not grow."""
    config = folder / "troth.toml"
    text = example_text()
    for old, new in (
        ("client_per_second = 30", "client_per_second = 0"),
        ("network_per_second = 300", "network_per_second = 0"),
        ("max_instances = 4", f"max_instances = {INSTANCES}"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    config.write_text(text)
    return config


async def test_twenty_times_the_load_breaks_nothing_and_nobody_is_left_without_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            done = await asyncio.to_thread(
                troth, "up", *running.arguments(config=without_limits(tmp_path)), "--detach", seconds=240
            )
            assert done.status == 0, done.output + done.errors
            await running.whole()
            before = (await running.status())["processes"]
            flooded, quiet = Answers(), Answers()
            context = ssl.create_default_context(cafile=str(running.state.public_ca))
            many = await connect(running, RESIDENTS, context, SPIKE)
            few = await connect(running, OWNERS, context, QUIET)
            until = time.monotonic() + SECONDS
            await asyncio.gather(
                *(ask_on(running, RESIDENTS, one, until, flooded) for one in many),
                *(ask_on(running, OWNERS, one, until, quiet) for one in few),
            )
            status = await running.whole()
    tell(
        capsys,
        f"{SPIKE} clients at once: {flooded.served} served (p99 {flooded.slowest(0.99):.1f} s), "
        f"{flooded.refused} refused with Retry-After; {QUIET} of another domain: {quiet.served} served "
        f"(p99 {quiet.slowest(0.99):.1f} s), {quiet.refused} refused",
    )
    restarts = {one["name"]: one["restarts"] for one in status["processes"]}
    assert restarts == {one["name"]: one["restarts"] for one in before}, "who is busy is not ended"
    assert set(flooded.statuses) | set(quiet.statuses) <= {200, 503}
    assert flooded.broken == quiet.broken == []
    assert flooded.mute == 0
    assert flooded.served > SPIKE
    assert quiet.served >= QUIET and quiet.refused == 0, "who does not flood is not refused"
    assert max(flooded.slowest(0.99), quiet.slowest(0.99)) < 20
