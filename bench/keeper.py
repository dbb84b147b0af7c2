"""What the keeper takes of a processor while nobody asks anything: `python -m bench.keeper [INSTANCES …]`.

The real `troth up` with one database member, two instances of the web service and the rest of a tiny
application, left alone until the work of the start is over; then the processor time of the keeper's process
over a minute (proc(5)). The instances and the edge work at rest too, and are told beside it.
"""

import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.results import Entry, entry, record
from bench.start import Platform

NUMBERS = (4, 20)
"""Instances of all services together."""

WEB = 2
LARGEST = 16
"""Instances that one application may have."""

REST_SECONDS = 45.0
MEASURED_SECONDS = 60.0
AIM = 2.0
"""Per cent of one core."""

KEEPER = ("-I", "-m", "troth.platform")

APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"well"})
"""

PLATFORM = f"""
version = 1

[platform]
name = "At rest"
region = "IE"

[web]
instances = {WEB}
max_instances = {WEB}

[tenants.lindenhof]
name = "Lindenhof"

[collections.notes]
schema = "note.json"

[roles.reader]
scopes = ["notes:read"]
"""

SERVICE = """
[[domains]]
name = "{domain}"
tenant = "lindenhof"
app = "{name}"
branding.name = "{name}"

[apps.{name}]
target = "tiny:app"
folder = "."
instances = {number}
max_instances = {number}
"""


def configure(folder: Path, instances: int) -> Path:
    """A troth.toml with so many instances in all."""
    (folder / "tiny.py").write_text(APPLICATION)
    (folder / "note.json").write_text('{"type": "object"}')
    text, left, names = PLATFORM, instances - WEB, iter(("residents", "owners"))
    while left > 0:
        name, number = next(names), min(left, LARGEST)
        text += SERVICE.format(domain=f"{name}.localhost", name=name, number=number)
        left -= number
    file = folder / "troth.toml"
    file.write_text(text)
    return file


def keeper_of(outermost: int) -> psutil.Process:
    """The keeper below `troth up`."""
    found = psutil.Process(outermost).children(recursive=True)
    return next(one for one in found if tuple(one.cmdline()[1:4]) == KEEPER)


def used(process: psutil.Process) -> float:
    """Seconds of a processor so far, its threads' and not its children's."""
    times = process.cpu_times()
    return times.user + times.system


def measure(instances: int) -> Entry:
    """The share of a core that the keeper takes with so many instances."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        folder = Path(name)
        platform = Platform(folder / "s", 1, configure(folder, instances))
        with platform.running() as (process, began):
            platform.until_first_page(process, began)
            time.sleep(REST_SECONDS)
            keeper = keeper_of(process.pid)
            others = [one for one in psutil.Process(process.pid).children(recursive=True) if one != keeper]
            at, before, around = time.perf_counter(), used(keeper), sum(map(used, others))
            time.sleep(MEASURED_SECONDS)
            seconds = time.perf_counter() - at
            share = (used(keeper) - before) / seconds
            rest = (sum(used(one) for one in others if one.is_running()) - around) / seconds
    print(f"  {instances} instances: {share:.2%} of a core; everything else {rest:.2%}", flush=True)
    pair = (100 * share, AIM)
    return entry(f"keeper.{instances}-instances", [pair], aim=1.0, unit="% of a core", at_least=False)


def main(numbers: tuple[int, ...]) -> None:
    """Measure, print, and note the results."""
    record(*map(measure, numbers))


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or NUMBERS)
