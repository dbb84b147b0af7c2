"""What a private network costs those who ask: `python -m bench.private_network` (as root).

Two whole platforms side by side, one in a network of its own and one on loopback, each with one member and
two instances of the web service; `h2load` asks both for `GET /login` through the edge in turn, and turns
change places. Nothing is recorded, for there is no aim: docs/decisions/private-network.md has the figures.
"""

import re
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.edge import Turn, load
from bench.results import entry
from support.platform import Troth, ended, example_text, state_folder, troth
from troth.core.settings import PrivateNetwork

TURNS = 8
REQUESTS = 600
PROTOCOLS = {"http1": ("--h1",), "http2": ("--max-concurrent-streams", "1")}

CHANGES = {
    "client_per_second": "0",
    "network_per_second": "0",
    "max_instances": "2",
}
"""No bound for one client, which stands for many here, and nobody added under load."""


class Side(Troth):
    """A platform in either network."""

    def __init__(self, root: Path, network: PrivateNetwork) -> None:
        super().__init__(root, members=1)
        self.network = network


def configure(folder: Path) -> Path:
    """The example without what would get in the way."""
    text = example_text()
    for key, value in CHANGES.items():
        text = re.sub(rf"^#? ?{key} = \d+", f"{key} = {value}", text, flags=re.MULTILINE)
    file = folder / "troth.toml"
    file.write_text(text)
    return file


@contextmanager
def up(config: Path, network: PrivateNetwork) -> Generator[Side]:
    """One of the two, until the end of the block. Ends the program when it does not come up."""
    with state_folder() as root:
        side = Side(root, network)
        with ended(side):
            done = troth("up", *side.arguments(config=config), "--detach")
            if done.status != 0:
                raise SystemExit(done.output + done.errors)
            yield side


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        config = configure(folder)
        apart = stack.enter_context(up(config, "namespace"))
        loopback = stack.enter_context(up(config, "loopback"))
        for protocol, options in PROTOCOLS.items():
            pairs: list[tuple[Turn, Turn]] = []
            for number in range(TURNS + 1):
                order = (apart, loopback) if number % 2 else (loopback, apart)
                turns = {side.network: load(side.https_port, options, folder, REQUESTS) for side in order}
                pairs.append((turns["namespace"], turns["loopback"]))
            _tell(protocol, pairs[1:])


def _tell(protocol: str, pairs: list[tuple[Turn, Turn]]) -> None:
    rates = entry(protocol, [(one.rate, other.rate) for one, other in pairs], aim=0.0, unit="requests/s")
    slowest = entry(
        f"{protocol}, p99", [(one.slowest, other.slowest) for one, other in pairs], aim=0.0, unit="ms"
    )
    for one in (rates, slowest):
        ours, against = f"{one.ours:g}", f"{one.against:g} {one.unit}"
        print(f"{one.name}: {ours} against {against}, ratio {one.ratio:g}, {one.runs} runs")


if __name__ == "__main__":
    main()
