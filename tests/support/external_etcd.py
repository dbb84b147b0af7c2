"""An etcd that somebody else runs: nodes started by the test, under an authority that Troth does not know."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec

from troth.core.ca import Authority, LeafFiles, Subject, Usage, write_leaf
from troth.core.clock import SystemClock
from troth.core.process import Endpoint
from troth.data.consensus import Consensus, StoreNode, consensus_process, find_etcd
from troth.data.external_store import ExternalStore
from troth.hosting.ports import free_ports

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")

Run = Callable[[int], Callable[..., tuple[str, ...]]]
"""What puts a command on a node's host."""


def on_this_machine(_: int) -> Callable[..., tuple[str, ...]]:
    """All nodes run here."""
    return lambda *argv: argv


class ExternalEtcd:
    """Nodes of one cluster. `close` it, whatever became of the test."""

    def __init__(self, folder: Path, addresses: tuple[str, ...], run: Run = on_this_machine) -> None:
        self._folder, self._run = folder, run
        self._now = SystemClock().now()
        (folder / "certificates").mkdir(mode=0o700, parents=True)
        self._authority = Authority.open(folder / "authority", "theirs", now=self._now)
        self.client = self._leaf("a-client-of-theirs", "client")
        self._nodes = [
            self._describe(f"theirs-{number}", address) for number, address in enumerate(addresses)
        ]
        cluster = {node.node: node.peer for node in self._nodes}
        self._nodes = [msgspec.structs.replace(node, cluster=cluster) for node in self._nodes]
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def authority(self) -> Path:
        return self._authority.certificate_file

    @property
    def nodes(self) -> tuple[StoreNode, ...]:
        return tuple(StoreNode(node.client, self.authority) for node in self._nodes)

    def described(self, name: str = "customers") -> ExternalStore:
        """What stands in `[consensus]` of hosts.toml."""
        return ExternalStore(
            endpoints=tuple(f"https://{node.client}" for node in self._nodes),
            regions=("DE",) * len(self._nodes),
            ca=str(self.authority),
            certificate=str(self.client.certificate),
            key=str(self.client.key),
            name=name,
        )

    def start(self) -> None:
        """Start the nodes that do not run."""
        for number, node in enumerate(self._nodes):
            if number not in self._running:
                spec = consensus_process(node)
                with spec.log.open("ab") as log:
                    self._running[number] = subprocess.Popen(
                        (*_DIE_WITH_PARENT, *self._run(number)(*spec.argv)),
                        env=spec.environment,
                        cwd=spec.folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )

    def kill(self, *numbers: int) -> None:
        """These nodes, or all, are gone at once."""
        for number in numbers or tuple(self._running):
            process = self._running.pop(number)
            process.kill()
            process.wait(10)

    def close(self) -> None:
        self.kill()

    def _describe(self, name: str, address: str) -> Consensus:
        data = self._folder / name
        data.mkdir(mode=0o700)
        client, peer = free_ports(2)
        return Consensus(
            program=find_etcd(),
            client=Endpoint(address, client),
            peer=Endpoint(address, peer),
            authority=self.authority,
            server=self._leaf(name, "both", address),
            data=data,
            log=self._folder / f"{name}.log",
            node=name,
        )

    def _leaf(self, name: str, usage: Usage, *addresses: str) -> LeafFiles:
        subject = Subject(common_name=name, addresses=addresses, usage=usage)
        leaf = self._authority.issue(subject, now=self._now, lifetime=timedelta(days=90))
        return write_leaf(leaf, self._folder / "certificates", name)
