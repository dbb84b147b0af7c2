"""The replica set, described: Patroni's configuration for each member and the process that runs it.

Pure functions of `ReplicaSet`; `data.patroni` talks to what they describe. Every hop is mutual TLS:

    instance → PostgreSQL      certificate of `database_clients`, its common name is the role
    member   → member          replication and rewind, likewise
    any      → Patroni's REST   certificate of `consensus`: whoever may command a member may replace its
                               configuration, so an application's database certificate must not open it
    Patroni  → etcd            certificate of `consensus`
"""

import sys
from pathlib import Path

import msgspec

from troth.core.ca import LeafFiles
from troth.core.errors import PlatformError
from troth.core.process import Endpoint, ProcessSpec
from troth.data.parameters import FAULTS, FOOTPRINT, LOGGING
from troth.data.postgres import Binaries
from troth.data.roles import APP, AUDITOR, OWNER, REPLICATOR, SUPERUSER

SCOPE = "troth"
"""Patroni's name for the cluster; its keys lie under `/troth/troth/` in the consensus store."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One database member: its ports, its folder and its server certificate (names `localhost` too,
    which Patroni uses for its own PostgreSQL)."""

    name: str
    postgres: Endpoint
    rest: Endpoint
    folder: Path
    server: LeafFiles

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.folder / "data"


class ReplicaSet(msgspec.Struct, frozen=True, kw_only=True):
    """The members and what they share. `consensus` names every node of the store. PostgreSQL lets the
    platform in from `clients` alone and members from `places` (networks, CIDR). `run` receives Patroni's
    configuration, `logs` its output. `slots` keep the log for those who receive it, on every member. A store
    that somebody else runs has an authority of its own, `store_authority`, lets `store_client` in, and keeps
    this set under `scope`."""

    members: tuple[Member, ...]
    binaries: Binaries
    server_authority: Path
    client_authority: Path
    consensus_authority: Path
    superuser: LeafFiles
    replicator: LeafFiles
    consensus_client: LeafFiles
    consensus: tuple[Endpoint, ...]
    run: Path
    logs: Path
    clients: tuple[str, ...] = ("127.0.0.1/32",)
    places: tuple[str, ...] = ("127.0.0.1/32",)
    slots: tuple[str, ...] = ()
    store_authority: Path | None = None
    store_client: LeafFiles | None = None
    scope: str = SCOPE

    @property
    def is_replicated(self) -> bool:
        """Whether a write is acknowledged by a second member before it counts."""
        return len(self.members) > 1

    def member(self, name: str) -> Member:
        """The member of this name; raises KeyError when there is none."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)


def shared_settings(replicas: ReplicaSet) -> dict[str, object]:
    """What all members agree on through the consensus store.

    A write counts once a quorum of standbys has it on disk; without a standby it waits (strict), since an
    acknowledged write must survive the loss of the leader. One member alone has nobody to wait for.
    """
    return {
        "ttl": 20,  # Patroni's floor; the keeper need not wait for it, see consensus.release_leadership
        "loop_wait": 1,
        "retry_timeout": 3,
        "primary_start_timeout": 0,  # a crashed leader is replaced, not waited for
        "primary_stop_timeout": 5,
        "synchronous_mode": "quorum" if replicas.is_replicated else "off",
        "synchronous_mode_strict": replicas.is_replicated,
        "failsafe_mode": True,
        # None takes away the slot of an earlier start, which would otherwise keep the log for nobody.
        "slots": {name: {"type": "physical"} for name in replicas.slots} or None,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "parameters": {
                "wal_level": "replica",
                "wal_log_hints": "on",
                "hot_standby": "on",
                "max_connections": 60,
                "max_worker_processes": 4,
                "max_prepared_transactions": 0,
                "max_locks_per_transaction": 64,
                "max_wal_senders": 10,
                "max_replication_slots": 10,
                "wal_keep_size": "64MB",
            },
        },
    }


def member_settings(replicas: ReplicaSet, member: Member) -> dict[str, object]:
    """Patroni's configuration of one member. It holds names of files and no secret."""
    return {
        "scope": replicas.scope,
        "namespace": "/troth/",
        "name": member.name,
        "log": {
            "level": "INFO",
            "deduplicate_heartbeat_logs": True,
            "format": "%(asctime)s %(levelname)s: %(message)s",
        },
        **_interfaces(replicas, member),
        "bootstrap": {
            "dcs": shared_settings(replicas),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": str(member.postgres),
            "connect_address": str(member.postgres),
            "data_dir": str(member.data),
            "bin_dir": str(replicas.binaries.folder),
            "pgpass": str(member.folder / "pgpass"),
            "authentication": _authentication(replicas),
            "parameters": _parameters(replicas, member),
            "pg_hba": list(_admission(replicas)),
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "basebackup": [{"checkpoint": "fast"}],
        },
        "tags": {},
    }


def _interfaces(replicas: ReplicaSet, member: Member) -> dict[str, object]:
    """Patroni's own REST interface, its calls to the other members', and those to the consensus store."""
    client = replicas.consensus_client
    shown = replicas.store_client or client
    return {
        "restapi": {
            "listen": str(member.rest),
            "connect_address": str(member.rest),
            "certfile": str(member.server.certificate),
            "keyfile": str(member.server.key),
            "cafile": str(replicas.consensus_authority),
            "verify_client": "required",
        },
        "ctl": {
            "insecure": False,
            "cacert": str(replicas.server_authority),
            "certfile": str(client.certificate),
            "keyfile": str(client.key),
        },
        "etcd3": {
            "hosts": [str(node) for node in replicas.consensus],
            "protocol": "https",
            "cacert": str(replicas.store_authority or replicas.consensus_authority),
            "cert": str(shown.certificate),
            "key": str(shown.key),
            "use_proxies": True,  # talk to these addresses alone, whatever the store advertises
        },
    }


def _admission(replicas: ReplicaSet) -> tuple[str, ...]:
    """Every other connection is refused: plain text, passwords, other networks, databases and roles."""
    everywhere = tuple(dict.fromkeys((*replicas.clients, *replicas.places)))
    rules = (
        (f"postgres,troth,template1 {SUPERUSER}", replicas.places),
        (f"troth {OWNER},{APP},{AUDITOR},{REPLICATOR}", replicas.clients),
        (f"replication {REPLICATOR}", everywhere),  # members follow, the platform takes backups
    )
    return tuple(
        f"hostssl {whom} {network} cert clientcert=verify-full"
        for whom, networks in rules
        for network in networks
    )


def _authentication(replicas: ReplicaSet) -> dict[str, dict[str, str]]:
    superuser = _credentials(SUPERUSER, replicas.superuser, replicas.server_authority)
    replicator = _credentials(REPLICATOR, replicas.replicator, replicas.server_authority)
    return {"superuser": superuser, "replication": replicator, "rewind": superuser}


def _credentials(role: str, files: LeafFiles, authority: Path) -> dict[str, str]:
    return {
        "username": role,
        "sslmode": "verify-full",
        "sslcert": str(files.certificate),
        "sslkey": str(files.key),
        "sslrootcert": str(authority),
        "gssencmode": "disable",
    }


def _parameters(replicas: ReplicaSet, member: Member) -> dict[str, object]:
    return {**_security(replicas, member), **FOOTPRINT, **FAULTS, **LOGGING}


def _security(replicas: ReplicaSet, member: Member) -> dict[str, object]:
    return {
        "ssl": "on",
        "ssl_cert_file": str(member.server.certificate),
        "ssl_key_file": str(member.server.key),
        "ssl_ca_file": str(replicas.client_authority),
        "ssl_min_protocol_version": "TLSv1.3",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
    }


def member_configuration(replicas: ReplicaSet, member: Member) -> Path:
    """Where the configuration of a member is to be written."""
    return replicas.run / f"{member.name}.patroni.json"


def write_configuration(replicas: ReplicaSet) -> None:
    """Write the configuration of each member, all of them on this machine."""
    for member in replicas.members:
        write_member(replicas, member)


def write_member(replicas: ReplicaSet, member: Member) -> None:
    """Write Patroni's configuration of one member, owner only (JSON is YAML), and make its folder."""
    member.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = member_configuration(replicas, member)
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(member_settings(replicas, member))))


def member_process(replicas: ReplicaSet, member: Member) -> ProcessSpec:
    """Patroni, which runs PostgreSQL in a session of its own. Whoever kills it must kill that as well, or it
    would go on taking writes: the supervisor does, by the mark that both carry."""
    return ProcessSpec(
        name=member.name,
        # -I: neither the current folder nor the user's own packages can slip a module in.
        argv=(
            sys.executable,
            "-I",
            "-m",
            "troth.data.elections",
            str(member_configuration(replicas, member)),
        ),
        environment={
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(member.folder),
            "MALLOC_ARENA_MAX": "1",  # saves some megabytes in each of the three
            **_pg_isready(replicas),
        },
        folder=member.folder,
        log=replicas.logs / f"{member.name}.log",
        as_other_user=True,
        stop_seconds=20.0,
    )


def _pg_isready(replicas: ReplicaSet) -> dict[str, str]:
    """Patroni calls pg_isready without options: by default it would try plain text on the wire as well."""
    return {
        "PGSSLMODE": "verify-full",
        "PGSSLCERT": str(replicas.superuser.certificate),
        "PGSSLKEY": str(replicas.superuser.key),
        "PGSSLROOTCERT": str(replicas.server_authority),
        "PGGSSENCMODE": "disable",
    }


def clear_stale_pid(members: Path) -> tuple[str, ...]:
    """Remove the `postmaster.pid` files that a killed platform left; call this under the state's lock alone.

    In a new pid namespace the ids in them belong to others, and PostgreSQL would refuse to start. Returns
    the names of the members that had one. Raises PlatformError when such a PostgreSQL lives after all.
    """
    cleared: list[str] = []
    for file in sorted(members.glob("*/data/postmaster.pid")):
        if _stands_in(file.parent):
            raise PlatformError(
                f"A PostgreSQL of an earlier start still runs in {file.parent}.",
                hint="Run `troth down`, or end that process.",
            )
        file.unlink()
        cleared.append(file.parent.parent.name)
    return tuple(cleared)


def _stands_in(folder: Path) -> bool:
    place = folder.resolve()
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if entry.readlink() == place:
                return True
        except OSError:  # ended meanwhile, or another user's: not ours in either case
            continue
    return False
