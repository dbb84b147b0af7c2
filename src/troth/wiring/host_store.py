"""The consensus store as a host of several sees it: a node of its own, or one that somebody else runs."""

import asyncio
import logging
from typing import Protocol

from troth.core.ca import LeafFiles
from troth.core.errors import PlatformError
from troth.data.consensus import (
    Consensus,
    StoreNode,
    consensus_is_ready,
    consensus_process,
    release_leadership,
)
from troth.data.replicas import ReplicaSet
from troth.data.store_view import StoreView, is_usable, look_at_store, store_refusals, store_troubles
from troth.hosting.plan import Tell
from troth.hosting.supervisor import Supervised, Supervisor
from troth.wiring.waiting import until

OTHERS_SECONDS = 900.0
"""How long a host waits for the others: at the first start they are brought up one by one, by a person."""

_GAP_SECONDS = 0.5

_log = logging.getLogger(__name__)


class HostStore(Protocol):
    """What a host asks of the store."""

    async def start(self, tell: Tell) -> str:
        """Return once it can agree on something, with a sentence. Raises PlatformError when it must not be
        used, or does not come."""
        ...

    async def stop(self) -> None:
        """End what runs here of it."""
        ...

    async def is_ready(self) -> bool:
        """Whether it can agree on something."""
        ...

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each thing that is wrong with it."""
        ...


class OwnNode:
    """etcd on each host, this one's among them."""

    def __init__(self, consensus: Consensus, client: LeafFiles, supervisor: Supervisor) -> None:
        self.consensus = consensus
        self._client, self._supervisor = client, supervisor
        self._process: Supervised | None = None

    async def start(self, tell: Tell) -> str:
        """See `HostStore`."""
        self._process = self._supervisor.start(consensus_process(self.consensus))
        tell(f"waiting for most of {len(self.consensus.cluster)} hosts")
        await until(
            self.is_ready,
            what="The consensus store of the hosts",
            log=self.consensus.log,
            seconds=OTHERS_SECONDS,
        )
        return f"etcd on {self.consensus.client}, mutual TLS"

    async def stop(self) -> None:
        """See `HostStore`."""
        if self._process is not None:
            await self._process.stop()

    async def is_ready(self) -> bool:
        """See `HostStore`; the node of this host alone is asked."""
        return await consensus_is_ready(self.consensus, self._client)

    async def troubles(self) -> tuple[str, ...]:
        """See `HostStore`: what is wrong with a node, its host tells."""
        return ()


class StoreElsewhere:
    """etcd that somebody else runs: nothing of it is started or stopped here."""

    def __init__(self, nodes: tuple[StoreNode, ...], client: LeafFiles) -> None:
        self._nodes, self._client = nodes, client

    async def start(self, tell: Tell) -> str:
        """See `HostStore`."""
        tell(f"waiting for most of {len(self._nodes)} nodes")
        where = ", ".join(str(node.client) for node in self._nodes)
        if faults := store_refusals(await self._usable(where)):
            raise PlatformError(
                f"The consensus store must not be used: {'; '.join(faults)}.",
                hint="Correct it, or [consensus] of hosts.toml, and enrol the hosts again; see "
                "docs/several-hosts.md.",
            )
        return f"etcd elsewhere, {where}, mutual TLS"

    async def _usable(self, where: str) -> StoreView:
        """The store, once most of its nodes answer and agree."""
        view: StoreView = {}
        try:
            async with asyncio.timeout(OTHERS_SECONDS):
                while not is_usable(view := await look_at_store(self._nodes, self._client)):  # noqa: ASYNC110
                    await asyncio.sleep(_GAP_SECONDS)
        except TimeoutError:
            raise PlatformError(
                f"The consensus store at {where} could not be used within {OTHERS_SECONDS:.0f} s: "
                f"{'; '.join(store_troubles(view))}.",
                hint="Its certificates must name these addresses, and it must let in the certificate that "
                "[consensus] of hosts.toml names.",
            ) from None
        return view

    async def stop(self) -> None:
        """See `HostStore`: it is not ours to stop."""

    async def is_ready(self) -> bool:
        """See `HostStore`; most of the nodes have to answer."""
        return is_usable(await look_at_store(self._nodes, self._client))

    async def troubles(self) -> tuple[str, ...]:
        """See `HostStore`."""
        return store_troubles(await look_at_store(self._nodes, self._client))


def store_nodes(replicas: ReplicaSet) -> tuple[StoreNode, ...]:
    """Every node of the store, the nearest first."""
    authority = replicas.store_authority or replicas.consensus_authority
    return tuple(StoreNode(node, authority) for node in replicas.consensus)


async def release_anywhere(replicas: ReplicaSet, member: str) -> None:
    """Give up the lead of a member that is known to be dead, if it led; one node after the other is asked."""
    client = replicas.store_client or replicas.consensus_client
    for node in store_nodes(replicas):
        try:
            if await release_leadership(node, client, scope=replicas.scope, member=member):
                _log.warning("%s led and is gone; its lead was given up on its behalf", member)
            return
        except PlatformError as error:
            _log.error("the lead of %s could not be given up at %s: %s", member, node.client, error.public)
