"""What the nodes of a consensus store tell of themselves, and what that is worth; pure, but for asking."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from troth.core.ca import LeafFiles
from troth.data.consensus import UNFIT, StoreNode, ask_status, is_unfit


class NodeTold(msgspec.Struct, frozen=True, kw_only=True):
    """One node: its version, which cluster it belongs to and as whom, whether that has a leader, and what it
    complains of."""

    version: str
    cluster: str
    member: str
    has_leader: bool
    errors: tuple[str, ...] = ()


StoreView = Mapping[str, NodeTold | None]
"""By address; None for a node that does not answer."""


async def look_at_store(nodes: tuple[StoreNode, ...], client: LeafFiles) -> StoreView:
    """Ask all nodes at once; one that does not answer within three seconds is told as silent."""
    told = await asyncio.gather(*(_ask(node, client) for node in nodes))
    return {str(node.client): one for node, one in zip(nodes, told, strict=True)}


async def _ask(node: StoreNode, client: LeafFiles) -> NodeTold | None:
    try:
        return read_status(await ask_status(node, client))
    except (httpx.HTTPError, OSError, ValueError):
        return None


def read_status(answer: dict[str, Any]) -> NodeTold:
    """What etcd's `maintenance/status` says. Raises ValueError when that is something else."""
    try:
        header = answer["header"]
        errors = tuple(str(one)[:200] for one in answer.get("errors") or ())
        leader = str(answer.get("leader", "0"))
        version, cluster, member = answer["version"], header["cluster_id"], header["member_id"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no status of etcd") from error
    return NodeTold(
        version=str(version)[:40],
        cluster=str(cluster)[:40],
        member=str(member)[:40],
        has_leader=leader not in ("", "0"),
        errors=errors,
    )


def is_usable(view: StoreView) -> bool:
    """Whether the store can agree on something: most of its nodes answer and know a leader."""
    return sum(one is not None and one.has_leader for one in view.values()) > len(view) // 2


def store_refusals(view: StoreView) -> tuple[str, ...]:
    """Why this store must not be used, a sentence each. That a node is away is none: it may come back."""
    told = {name: one for name, one in view.items() if one is not None}
    faults = [f"{name} is etcd {one.version}: {UNFIT}" for name, one in told.items() if is_unfit(one.version)]
    if len({one.cluster for one in told.values()}) > 1:
        faults.append("its nodes belong to different clusters, which would let two members lead")
    known: dict[str, str] = {}
    for name, one in told.items():
        if one.member in known:
            faults.append(f"{known[one.member]} and {name} are one and the same node")
        known.setdefault(one.member, name)
    return tuple(faults)


def store_troubles(view: StoreView) -> tuple[str, ...]:
    """A sentence for each thing that is wrong with a store that is in use."""
    found = (f"the consensus store at {name} {said}" for name, one in view.items() for said in _troubles(one))
    return (*found, *store_refusals(view))


def _troubles(told: NodeTold | None) -> tuple[str, ...]:
    if told is None:
        return ("does not answer",)
    if not told.has_leader:
        return ("has no leader",)
    return tuple(f"says: {error}" for error in told.errors)
