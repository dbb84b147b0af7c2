"""Several hosts, each with a database member and a node of the consensus store: `hosts.toml`, checked.

clients = ["10.0.1.0/24"]

[[hosts]]
name = "db-1"
address = "10.0.0.1"
region = "DE"

[consensus] names a store that somebody else runs, see `data.external_store`; without it each host has a node.
"""

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from troth.core.errors import ConfigError
from troth.core.faults import Faults
from troth.core.files import read_up_to
from troth.core.process import Endpoint
from troth.core.toml_lines import find_lines
from troth.core.toml_shape import read_table
from troth.data.external_store import ExternalStore, check_store
from troth.data.residency import check_region

LEAST, MOST = 3, 5
"""Of two hosts neither may lead without the other; more than five only make writes slower."""

PLATFORM = "platform"
"""The name under which a platform is enrolled; no host can have it."""

MAX_FILE_BYTES = 64 * 1024

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
_WIDEST = 8
"""Bits of a prefix: a wider network than this is no network of one's own."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One host: its name in the set, the address that the others reach it at, where it stands, its ports."""

    name: str
    address: str
    region: str
    postgres: Port = 5432
    patroni: Port = 8008
    etcd: Port = 2379
    etcd_peers: Port = 2380

    def at(self, port: int) -> Endpoint:
        """One of its ports as an endpoint."""
        return Endpoint(self.address, port)


class HostSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All hosts of a replica set. `clients` are the networks (CIDR) from which platforms connect;
    `certificate_days` how long an enrolled host's certificates live; `consensus` the store that somebody else
    runs, None where each host has a node of its own; `backups` whether up to 2 GB of the log are kept for a
    platform that ships it."""

    hosts: tuple[Host, ...]
    clients: tuple[str, ...]
    consensus: ExternalStore | None = None
    backups: bool = True
    certificate_days: Annotated[int, msgspec.Meta(ge=1, le=398)] = 90

    def host(self, name: str) -> Host:
        """The host of this name. Raises ConfigError when there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise ConfigError(f"There is no host “{name[:60]}” in the set.", hint=f"It has: {known}.")

    @property
    def places(self) -> tuple[str, ...]:
        """Each host's own address as a network."""
        return tuple(str(ipaddress.IPv4Network(host.address)) for host in self.hosts)


def read_hosts(file: Path) -> HostSet:
    """Read and check `hosts.toml`. Raises ConfigError with every fault and its line; a host outside the EU is
    one, and names data.residency."""
    text = _read_text(file)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"This is not TOML: {error}.", file=file, hint="See docs/several-hosts.md."
        ) from None
    faults = Faults(file, find_lines(text))
    found = read_table(table, HostSet, faults)
    faults.raise_any()
    assert found is not None, "the shape is sound when no fault was noted"
    _check_hosts(found, faults)
    _check_clients(found, faults)
    if found.consensus is not None:
        check_store(found.consensus, faults)
    faults.raise_any()
    return _resolved(found, file.parent)


def _resolved(found: HostSet, folder: Path) -> HostSet:
    """Files are named as seen from `hosts.toml`."""
    store = found.consensus
    if store is None:
        return found
    files = {name: str(folder / getattr(store, name)) for name in ("ca", "certificate", "key")}
    return msgspec.structs.replace(found, consensus=msgspec.structs.replace(store, **files))


def _read_text(file: Path) -> str:
    try:
        text = read_up_to(file, MAX_FILE_BYTES)
        if len(text) > MAX_FILE_BYTES:
            raise ConfigError(f"{file} is larger than {MAX_FILE_BYTES // 1024} KiB.", file=file)
        return text.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"{file} cannot be read: {why}.",
            file=file,
            hint="Name the file with --hosts FILE; docs/several-hosts.md shows what belongs in it.",
        ) from None


def _check_hosts(found: HostSet, faults: Faults) -> None:
    if len(found.hosts) not in (LEAST, MOST):
        said = f"There are {len(found.hosts)} hosts; a set has {LEAST} or {MOST}."
        faults.add(("hosts",), said, "An even number survives no more losses than one less.")
    seen: set[str] = set()
    for index, host in enumerate(found.hosts):
        path = ("hosts", index)
        if not _NAME.fullmatch(host.name) or host.name == PLATFORM:
            hint = "Use small letters, digits and hyphens, beginning with a letter, and not “platform”."
            faults.add((*path, "name"), "This cannot be the name of a host.", hint)
        for key, text in (("name", host.name), ("address", host.address)):
            if text in seen:
                faults.add((*path, key), f"Two hosts have the {key} {text}.", "Each has one of its own.")
            seen.add(text)
        if not _is_reachable(host.address):
            hint = 'Write the one that the other hosts reach it at, like "10.0.0.1".'
            faults.add((*path, "address"), "This is no IPv4 address of a host.", hint)
        if len({host.postgres, host.patroni, host.etcd, host.etcd_peers}) != 4:
            faults.add((*path, "name"), "Two of its ports are the same.", "Each has one of its own.")
        try:
            check_region(host.region)
        except ConfigError as error:
            faults.add((*path, "region"), error.public, error.hint, promise=error.promise)


def _is_reachable(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return not (
        address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    )


def _check_clients(found: HostSet, faults: Faults) -> None:
    if not found.clients:
        faults.add(("clients",), "No network is named.", 'Name that of the platform, like "10.0.1.5/32".')
    for index, text in enumerate(found.clients):
        try:
            network = ipaddress.IPv4Network(text)
        except ValueError:
            faults.add(("clients", index), "This is no IPv4 network.", 'Write it like "10.0.1.0/24".')
            continue
        if network.prefixlen < _WIDEST:
            hint = "Name the networks that platforms connect from."
            faults.add(("clients", index), "This network is too wide to be one of your own.", hint)
