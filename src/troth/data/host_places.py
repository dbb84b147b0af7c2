"""Every place that a host of several sends data to, derived from `hosts.toml`; pure."""

from troth.data.hosts import HostSet
from troth.data.places import DataPlace, Destination
from troth.data.residency import check_region


def find_host_places(hosts: HostSet) -> tuple[DataPlace, ...]:
    """The members, and the nodes of a store that somebody else runs. Raises ConfigError, naming
    data.residency, for one that lies outside the EU and the EEA."""
    ports = ("postgres", "patroni", *(() if hosts.consensus else ("etcd", "etcd_peers")))
    members = [
        DataPlace(
            use="members",
            name=f"database member {host.name}",
            place=check_region(host.region, key="hosts"),
            destinations=tuple(Destination(host.address, getattr(host, port), host.name) for port in ports),
        )
        for host in hosts.hosts
    ]
    if hosts.consensus is None:
        return tuple(members)
    store = hosts.consensus
    nodes = [
        DataPlace(
            use="consensus",
            name=f"consensus store {node}",
            place=check_region(region, key="consensus.regions"),
            destinations=(Destination(node.host, node.port, "consensus store"),),
        )
        for node, region in zip(store.nodes, store.regions, strict=True)
    ]
    return (*members, *nodes)
