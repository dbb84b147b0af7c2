"""A keeper's process with a plan of toys: quick, and independent of every room but hosting.

Processes hide the way daemons do: a double fork into new sessions.
"""

import asyncio
import sys

from troth.core.errors import ConfigError
from troth.core.process import ProcessSpec
from troth.hosting.keeper import run_keeper
from troth.hosting.plan import Address, Duty, Launch, Plan, SignIn, Step, Summary, Tell
from troth.hosting.supervisor import Supervisor

HIDER = "setsid sh -c 'setsid sleep 3601 & sleep 3602' & exec sleep 3603"
STUBBORN = "trap '' TERM; while :; do sleep 3604; done"


async def build(launch: Launch, supervisor: Supervisor) -> Plan:
    """`troth.toml` of a toy is one word: `fine`, `wrong`, `stuck` (a step that never ends) or `failing`."""
    word = launch.config.read_text().strip()
    if word == "wrong":
        raise ConfigError(
            "This word is wrong.", file=launch.config, line=1, key="word", hint="Write another."
        )
    return _plan(launch, supervisor, word)


def _plan(launch: Launch, supervisor: Supervisor, word: str) -> Plan:
    def start(name: str, command: str) -> None:
        spec = ProcessSpec(
            name=name,
            argv=("sh", "-c", command),
            environment={"PATH": "/usr/bin:/bin"},
            folder=launch.state,
            log=launch.state / "logs" / f"{name}.log",
            stop_seconds=0.5 if name == "stubborn" else 5.0,
        )
        supervisor.start(spec)

    async def start_first(tell: Tell) -> str:
        tell("waking up")
        start("sleeper", "exec sleep 3600")
        return "asleep"

    async def start_second(tell: Tell) -> str:
        start("hider", HIDER)
        start("stubborn", STUBBORN)
        if word == "stuck":
            await asyncio.Event().wait()
        if word == "failing":
            raise ConfigError("The second step cannot be.", hint="Leave it out.")
        return "hidden"

    async def summarize() -> Summary:
        return Summary(
            platform="Toy",
            addresses=(Address("Portal", "https://toy.localhost:8443"),),
            signins=(SignIn("https://toy.localhost:8443", "Anna", "anna@example.com", "a-password"),),
            ca=launch.state / "ca.pem",
        )

    async def look() -> str:
        return "looked around"

    async def report() -> object:
        return [{"name": "a", "role": "leader"}]

    async def factsheet(_: dict[str, object]) -> dict[str, object]:
        broken = {
            "id": "data.https",
            "sentence": "S.",
            "verdict": "broken",
            "evidence": "E.",
            "probed_at": None,
        }
        return {"platform": "Toy", "at": "2026-11-23T16:00:00.000Z", "promises": [broken]}

    return Plan(
        platform="Toy",
        steps=(
            Step(name="first", title="The first thing", start=start_first),
            Step(name="second", title="The second thing", start=start_second, after=("first",)),
        ),
        summary=summarize,
        duties=(Duty(name="looking", every=0.1, work=look),),
        status={"members": report},
        actions={"factsheet": factsheet},
        resumable=True,
    )


if __name__ == "__main__":
    sys.exit(run_keeper(sys.argv[1:], build))
