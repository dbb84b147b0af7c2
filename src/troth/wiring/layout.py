"""Where each part of the replica set on this machine listens, where it lies, which certificates it has."""

from collections.abc import Iterator
from pathlib import Path

from troth.core.ca import LeafFiles
from troth.core.process import Endpoint
from troth.core.state import State
from troth.data.consensus import Consensus
from troth.data.postgres import Binaries
from troth.data.replicas import Member, ReplicaSet
from troth.data.roles import APP, AUDITOR, OWNER, REPLICATOR, SUPERUSER
from troth.wiring.certificates import Certificates, Holder


class Layout:
    """`names` are the members that there may be, those that are added later too: whoever knows the set from
    the start on must find them then, so that each has its place already."""

    def __init__(
        self, state: State, certificates: Certificates, ports: Iterator[int], names: tuple[str, ...]
    ) -> None:
        self._state, self._certificates = state, certificates
        self._consensus = (_loopback(next(ports)), _loopback(next(ports)))
        self._places = {name: (_loopback(next(ports)), _loopback(next(ports))) for name in names}

    @property
    def names(self) -> tuple[str, ...]:
        """Every member that there may be."""
        return tuple(self._places)

    @property
    def hosts(self) -> tuple[Endpoint, ...]:
        """Where PostgreSQL of each of them listens, or would."""
        return tuple(postgres for postgres, _ in self._places.values())

    def consensus(self, program: Path) -> Consensus:
        """The one node of the consensus store."""
        server = Holder(trust="consensus", name="etcd", usage="both", dns=("localhost",))
        client, peer = self._consensus
        return Consensus(
            program=program,
            client=client,
            peer=peer,
            authority=self._certificates.ca("consensus"),
            server=self._certificates.obtain(server),
            data=self._state.consensus,
            log=self._state.logs / "consensus.log",
        )

    def replicas(self, binaries: Binaries, members: tuple[str, ...], slots: tuple[str, ...]) -> ReplicaSet:
        """The set of these members, each with a certificate of its own, and every role with one."""
        for role in (SUPERUSER, REPLICATOR, OWNER, APP, AUDITOR):
            self._certificates.obtain(_client(role))
        return ReplicaSet(
            members=tuple(self.member(name) for name in members),
            binaries=binaries,
            server_authority=self._certificates.ca("database"),
            client_authority=self._certificates.ca("database_clients"),
            consensus_authority=self._certificates.ca("consensus"),
            superuser=self.files(SUPERUSER),
            replicator=self.files(REPLICATOR),
            consensus_client=self._certificates.obtain(
                Holder(trust="consensus", name="patroni", usage="client")
            ),
            consensus=(self._consensus[0],),
            run=self._state.run,
            logs=self._state.logs,
            slots=slots,
        )

    def member(self, name: str) -> Member:
        """A member of this name, with a certificate."""
        postgres, rest = self._places[name]
        return Member(
            name=name,
            postgres=postgres,
            rest=rest,
            folder=self._state.members / name,
            server=self._certificates.obtain(_server(name)),
        )

    def files(self, role: str) -> LeafFiles:
        """Where the certificate of one of the database's roles lies."""
        return self._certificates.files(_client(role))

    def forget(self, name: str) -> None:
        """A member has left; its certificate is renewed no more."""
        self._certificates.forget(_server(name))


def _loopback(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)


def _server(name: str) -> Holder:
    return Holder(trust="database", name=name, usage="server", dns=("localhost",))


def _client(role: str) -> Holder:
    return Holder(trust="database_clients", name=role, usage="client")
