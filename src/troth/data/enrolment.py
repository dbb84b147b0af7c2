"""What a host needs to join a replica set, carried over as one file: the set, and certificates of its own.

The authorities' keys stay where they are. A bundle holds the private keys of one host (or of the platform)
and of nobody else; whoever reads it is that host to all others, so it is readable by its owner alone.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.ca import Authority, LeafFiles, Subject, Usage, read_certificate, write_leaf
from troth.core.ca import Leaf as IssuedLeaf
from troth.core.errors import ConfigError, PlatformError
from troth.core.secret import Secret, read_secret, write_public, write_secret
from troth.data.external_store import read_store_files
from troth.data.hosts import PLATFORM, Host, HostSet
from troth.data.roles import APP, AUDITOR, OWNER, REPLICATOR, SUPERUSER

VERSION = 1

MAX_BYTES = 256 * 1024

STORE = "store"
"""What the certificates for a consensus store that somebody else runs are called here."""

_SET = "set.json"

_Trust = Literal["database", "database_clients", "consensus"]


class Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate and its key, PEM. The key does not show itself."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Leaf(…)"


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One holder's part: the certificates of the authorities that it trusts, by trust domain, and its own
    certificates, by use."""

    version: int
    name: str
    set: HostSet
    authorities: dict[str, str]
    leaves: dict[str, Leaf]


class Membership(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a folder was enrolled with, its secrets aside."""

    name: str
    set: HostSet

    @property
    def own(self) -> Host:
        """This host."""
        return self.set.host(self.name)


class _Wanted(msgspec.Struct, frozen=True):
    trust: _Trust
    name: str
    usage: Usage
    addresses: tuple[str, ...] = ()


def enrol_host(authorities: Path, hosts: HostSet, name: str, now: datetime) -> Bundle:
    """A bundle for one host. `authorities` is the folder of the platform's authorities, which are made where
    they are missing. Raises ConfigError when no host has this name."""
    host = hosts.host(name)
    here = (host.address, "127.0.0.1")
    wanted = {
        "server": _Wanted("database", name, "server", here),
        **({} if hosts.consensus else {"etcd": _Wanted("consensus", name, "both", here)}),
        "patroni": _Wanted("consensus", "patroni", "client"),
        SUPERUSER: _Wanted("database_clients", SUPERUSER, "client"),
        REPLICATOR: _Wanted("database_clients", REPLICATOR, "client"),
    }
    bundle = _issue(authorities, hosts, name, now, wanted, ("database", "database_clients", "consensus"))
    return _with_store(bundle, now)


def _with_store(bundle: Bundle, now: datetime) -> Bundle:
    """With what opens a store that somebody else runs; all hosts show it the same certificate."""
    store = bundle.set.consensus
    if store is None:
        return bundle
    files = read_store_files(store, now)
    return msgspec.structs.replace(
        bundle,
        set=msgspec.structs.replace(bundle.set, consensus=store.carried()),
        authorities={**bundle.authorities, STORE: files.ca},
        leaves={**bundle.leaves, STORE: Leaf(files.certificate, files.key.reveal().decode())},
    )


def enrol_platform(authorities: Path, hosts: HostSet, now: datetime) -> Bundle:
    """A bundle for a platform: the roles that it works as. It commands no member and is no superuser."""
    wanted = {role: _Wanted("database_clients", role, "client") for role in (OWNER, APP, AUDITOR, REPLICATOR)}
    bundle = _issue(authorities, hosts, PLATFORM, now, wanted, ("database",))
    return msgspec.structs.replace(bundle, set=msgspec.structs.replace(hosts, consensus=None))


def _issue(
    authorities: Path,
    hosts: HostSet,
    name: str,
    now: datetime,
    wanted: dict[str, _Wanted],
    trusted: tuple[_Trust, ...],
) -> Bundle:
    opened = {
        trust: Authority.open(authorities, trust, now=now)
        for trust in {*trusted, *(one.trust for one in wanted.values())}
    }
    lifetime = timedelta(days=hosts.certificate_days)
    leaves = {
        use: _carried(opened[one.trust].issue(_subject(one), now=now, lifetime=lifetime))
        for use, one in wanted.items()
    }
    pems = {trust: opened[trust].certificate_pem.decode() for trust in trusted}
    return Bundle(version=VERSION, name=name, set=hosts, authorities=pems, leaves=leaves)


def _subject(wanted: _Wanted) -> Subject:
    return Subject(
        common_name=wanted.name,
        dns=() if wanted.usage == "client" else ("localhost",),
        addresses=wanted.addresses,
        uri=f"spiffe://troth/{wanted.trust}/{wanted.name}",
        usage=wanted.usage,
    )


def _carried(leaf: IssuedLeaf) -> Leaf:
    return Leaf(leaf.certificate_pem.decode(), leaf.key_pem.reveal().decode())


def write_bundle(bundle: Bundle, file: Path) -> None:
    """Write it, owner only. Raises ConfigError when it cannot be written there."""
    try:
        write_secret(file, msgspec.json.encode(bundle))
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({type(error).__name__}).", file=file) from None


def read_bundle(file: Path) -> Bundle:
    """Read a bundle. Raises PlatformError when others may read it, ConfigError when it is none."""
    text = read_secret(file, hint="Make one where the authorities are: troth member enrol").reveal()
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{file} is too large for a bundle.", file=file)
    try:
        bundle = msgspec.json.decode(text, type=Bundle)
    except msgspec.MsgspecError:
        raise ConfigError(f"{file} is no bundle.", file=file, hint="Make one: troth member enrol") from None
    if bundle.version != VERSION:
        raise ConfigError(f"{file} is of version {bundle.version}; this Troth knows {VERSION}.", file=file)
    return bundle


def take_in(bundle: Bundle, folder: Path) -> None:
    """Write a bundle's parts into a folder, owner only, in place of those of before.

    Raises ConfigError when the folder is that of another holder or of other hosts: the consensus store would
    not follow.
    """
    earlier = read_membership(folder) if (folder / _SET).exists() else None
    if earlier is not None:
        _check_same(earlier, bundle, folder)
    for name in (*bundle.authorities, *bundle.leaves):
        _check_name(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for trust, pem in bundle.authorities.items():
        write_public(authority_file(folder, trust), pem.encode())
    for use, leaf in bundle.leaves.items():
        not_after = read_certificate(leaf.certificate.encode()).not_after
        issued = IssuedLeaf(leaf.certificate.encode(), Secret(leaf.key.encode()), not_after)
        write_leaf(issued, folder, use)
    membership = Membership(name=bundle.name, set=bundle.set)
    write_public(folder / _SET, msgspec.json.format(msgspec.json.encode(membership)))


def _check_same(earlier: Membership, bundle: Bundle, folder: Path) -> None:
    if earlier.name != bundle.name:
        raise ConfigError(
            f"{folder} is that of {earlier.name}, and the bundle is for {bundle.name}.",
            hint="Name another folder, or make a bundle for this host.",
        )
    if earlier.set.hosts != bundle.set.hosts:
        raise ConfigError(
            f"The bundle names other hosts than {folder} does.",
            hint="The hosts of a living set are changed one by one: see docs/several-hosts.md.",
        )
    if _store_of(earlier.set) != _store_of(bundle.set):
        raise ConfigError(
            f"The bundle names another consensus store than {folder} does.",
            hint="A member that asks another store than the others would be led by nobody or by another one.",
        )


def _store_of(found: HostSet) -> str | None:
    """Its nodes may be replaced one by one; the name in it may not change, nor whose store it is."""
    return found.consensus and found.consensus.name


def _check_name(name: str) -> None:
    """A name becomes a file's: nobody's bundle may write outside of the folder."""
    if not name.replace("_", "").isalnum() or not name.isascii():
        raise ConfigError("The bundle names a file that it must not.")


def read_membership(folder: Path) -> Membership:
    """What the folder was enrolled with. Raises PlatformError when it was with nothing."""
    try:
        return msgspec.json.decode((folder / _SET).read_bytes(), type=Membership)
    except (OSError, msgspec.MsgspecError) as error:
        raise PlatformError(
            f"{folder} holds no membership.",
            hint="Bring a bundle: troth member import FILE",
            detail=repr(error),
        ) from None


def set_file(folder: Path) -> Path:
    """Where the set is kept."""
    return folder / _SET


def authority_file(folder: Path, trust: str) -> Path:
    """Where the certificate of a trust domain's authority lies."""
    return folder / f"{trust}.ca.pem"


def leaf_files(folder: Path, use: str) -> LeafFiles:
    """Where the certificate for a use lies."""
    return LeafFiles(folder / f"{use}.pem", folder / f"{use}.key")


def ends(folder: Path) -> dict[str, datetime]:
    """When each certificate of the folder ends, by use."""
    return {
        file.stem: read_certificate(file.read_bytes()).not_after
        for file in sorted(folder.glob("*.pem"))
        if not file.name.endswith(".ca.pem")
    }
