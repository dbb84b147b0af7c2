"""What an instance of a service is started with: its place, its certificates, its file and its process."""

import hashlib
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from troth import VERSION
from troth.core.ca import LeafFiles
from troth.core.config import CollectionSettings, Settings
from troth.core.errors import PlatformError
from troth.core.leader import DatabaseTarget
from troth.core.process import Bounds, Endpoint, ProcessSpec
from troth.core.secret import write_secret
from troth.core.state import State
from troth.hosting.edge_state import WEB, service_name
from troth.hosting.instance import Prepared, Release, note_of
from troth.hosting.instance_file import InstanceFile
from troth.hosting.own_user import number_of
from troth.hosting.releases import Shelf
from troth.hosting.tracing.pipes import SUFFIX, make_pipe
from troth.hosting.wire import encode
from troth.wiring.certificates import Certificates, Holder

PRIVATE = Holder(trust="instances", name="edge", usage="server")
"""The edge towards applications: it stands among the instances that they trust."""


SPARE_SLOTS = 1
"""Beyond the most instances that load may lead to: one may be replaced while a release is kept for a way back
in its own slot."""


_TASKS = 512
"""Processes and threads of one instance: many times what it needs, and far from what a machine has."""

_CAPABILITIES = ("chown", "dac_override", "setgid", "setpcap", "setuid", "sys_admin")
"""To take a user of its own and to give up the rest, before anything is loaded: hosting.confinement."""


class WebConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance of the web service is told, in a file named by the variable TROTH_WEB.

    It names the file of the root key and holds no secret itself. `connections` to the database are the most
    that it may have at once. `mail` says whether the keeper sends messages; `breached` lists passwords;
    `name_servers` are asked whose a domain is, those of this machine when there are none. What one client and
    one network may ask in a second has no bound at 0.
    """

    platform: str
    database: DatabaseTarget
    root_key: Path
    https_port: int
    connections: int
    collections: dict[str, CollectionSettings]
    public: dict[str, tuple[str, ...]]
    mail: bool = False
    breached: Path | None = None
    name_servers: tuple[str, ...] = ()
    name_server_port: int = 53
    client_per_second: int = 0
    network_per_second: int = 0


class Blueprint:
    """Describes instances. Each slot has two places that its generations take in turn, chosen once: the edge
    asks all of them who is there, so that an instance which dies, returns or is replaced needs no reload of
    the edge, which would cut connections off."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        certificates: Certificates,
        *,
        private: Endpoint,
        web: Callable[[], WebConfiguration],
        ports: Iterator[int],
        resumes: bool = False,
    ) -> None:
        self._settings = settings
        self._state = state
        self._certificates = certificates
        self._private = private
        self._web = web
        self._resumes = resumes
        self._ports = ports
        self._places: dict[str, Endpoint] = {}
        self._webs: dict[str, WebConfiguration] = {}
        self._web_names = itertools.count(1)
        if resumes:
            self._place(_read_lines(self._turns_file))
        self.shelves: dict[str, Shelf] = {}
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Settings that were read again: more places where there may be more instances, and none fewer, for
        somebody may answer there."""
        self._settings = settings
        self._place(turn for turn in _turns(settings) if turn not in self._places)
        for name in settings.apps.keys() - self.shelves.keys():
            self.shelves[name] = Shelf(self._state.releases / name, but=self._state.root)

    def places_of(self, service: str) -> tuple[Endpoint, ...]:
        """Everywhere that an instance of this service may answer."""
        return tuple(place for turn, place in self._places.items() if _service(turn) == service)

    def first_release(self, service: str) -> Release:
        """What the instances of a service run when the platform comes up."""
        if service == WEB:
            (name,) = (self._resumes and _read_lines(self._web_name_file)) or (VERSION,)
            return self._web_release(name)
        app, shelf = self._settings.apps[service], self.shelves[service]
        if self._resumes and shelf.current is not None:  # a keeper's death brings in no new release
            return shelf.release(shelf.current)
        return shelf.release(shelf.at_start(app.folder, app.target, datetime.now(UTC)))

    def web_release(self) -> Release:
        """The web service as it is configured from now on. Its instances keep to the configuration that their
        release had at first, also when one is started again while another release takes over."""
        name = next(name for number in self._web_names if (name := f"{VERSION}+{number}") not in self._webs)
        return self._web_release(name)

    def keep_web_release(self, release: Release) -> None:
        """A keeper that takes over goes on with this one."""
        write_secret(self._web_name_file, release.name.encode())

    def prepare(self, service: str, slot: str, generation: int, release: Release) -> Prepared:
        """Certificates and file of an instance about to start. A new generation does not take the certificate
        of the one which still serves."""
        turn = turn_of(slot, generation)
        endpoint = self._places.get(turn)
        if endpoint is None:
            raise PlatformError(f"There is no place for another instance of {service}: {slot} is none.")
        for holder in _holders(service, turn):
            self._certificates.issue(holder)
        described = self._describe(service, slot, turn, release)
        if described.temporary is not None:
            shutil.rmtree(described.temporary, ignore_errors=True)
            described.temporary.mkdir(mode=0o700, parents=True)
        folder = self._state.run / "instances"
        folder.mkdir(mode=0o700, exist_ok=True)
        write_secret(folder / f"{turn}.json", encode(described))
        if described.spans is not None:
            make_pipe(described.spans)
        if service == WEB:
            write_secret(self._web_file(release), encode(self._web_of(release)))
        note = note_of(service, slot, generation, release)
        return Prepared(self._process(turn, described, release, note), endpoint, described.pulse)

    def resume(self, service: str, slot: str, generation: int, release: Release) -> Prepared | None:
        """The same of an instance that an earlier keeper started. None when it cannot go on: its certificates
        are not good any more, or it has no place. Nothing is changed then."""
        turn = turn_of(slot, generation)
        endpoint, holders = self._places.get(turn), _holders(service, turn)
        if endpoint is None or not all(self._certificates.is_kept(holder) for holder in holders):
            return None
        for holder in holders:
            self._certificates.obtain(holder)
        described = self._describe(service, slot, turn, release)
        note = note_of(service, slot, generation, release)
        return Prepared(self._process(turn, described, release, note), endpoint, described.pulse, runs=True)

    def _place(self, turns: Iterable[str]) -> None:
        """Places in this order, written down: a keeper that takes over asks for ports in it again."""
        for turn in turns:
            self._places[turn] = Endpoint("127.0.0.1", next(self._ports))
            if not self._resumes or turn not in _read_lines(self._turns_file):
                with self._turns_file.open("a") as file:
                    file.write(f"{turn}\n")

    @property
    def _turns_file(self) -> Path:
        return self._state.run / "places"

    @property
    def _web_name_file(self) -> Path:
        return self._state.run / "web.release"

    def _web_file(self, release: Release) -> Path:
        return self._state.run / f"web-{release.name}.json"

    def _web_release(self, name: str) -> Release:
        return Release(name=name, target="troth.web.app:create", folder=self._state.run)

    def _web_of(self, release: Release) -> WebConfiguration:
        if release.name not in self._webs:
            self._webs[release.name] = self._web()
        return self._webs[release.name]

    def _describe(self, service: str, slot: str, turn: str, release: Release) -> InstanceFile:
        pulse = self._state.run / "instances" / f"{turn}.pulse"
        own, *rest = (self._certificates.files(holder) for holder in _holders(service, turn))
        place = self._places[turn]
        described = (
            self._describe_web(slot, place, own, release)
            if service == WEB
            else self._describe_app(slot, turn, place, (own, *rest), release)
        )
        spans = pulse.with_suffix(SUFFIX) if self._settings.tracing is not None else None
        return msgspec.structs.replace(described, pulse=pulse, spans=spans)

    def _process(
        self, turn: str, described: InstanceFile, release: Release, note: dict[str, str]
    ) -> ProcessSpec:
        """The web service's own file counts as given too: it is read once, at the start."""
        slot, file = described.name, self._state.run / "instances" / f"{turn}.json"
        given = hashlib.sha256(encode(described))
        if described.kind == "web":
            given.update(encode(self._web_of(release)))
        return ProcessSpec(
            name=slot,
            argv=(sys.executable, "-I", "-m", "troth.hosting.runner", str(file)),
            environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            folder=described.folder,
            log=self._state.logs / f"{slot}.log",
            capabilities=_CAPABILITIES,
            given=given.hexdigest(),
            note=note,
            bounds=self._bounds(slot) if described.kind == "app" else None,
        )

    def _bounds(self, slot: str) -> Bounds:
        """Of an instance of an application; the web service, which all of them need, has none."""
        app = self._settings.apps[slot.rpartition("-")[0]]
        return Bounds(memory=app.memory_mebibytes << 20, tasks=_TASKS)

    def _describe_web(self, slot: str, endpoint: Endpoint, own: LeafFiles, release: Release) -> InstanceFile:
        return InstanceFile(
            name=slot,
            kind="web",
            target=release.target,
            factory=True,
            folder=release.folder,
            port=endpoint.port,
            certificate=own.certificate,
            key=own.key,
            client_ca=self._certificates.ca("callers"),
            log_format=self._settings.logging.format,
            environment={**release.environment, "TROTH_WEB": str(self._web_file(release))},
        )

    def _describe_app(
        self, slot: str, turn: str, endpoint: Endpoint, held: tuple[LeafFiles, ...], release: Release
    ) -> InstanceFile:
        own, client = held
        temporary = self._state.run / "instances" / f"{turn}.tmp"
        return InstanceFile(
            name=slot,
            kind="app",
            target=release.target,
            folder=release.folder,
            port=endpoint.port,
            certificate=own.certificate,
            key=own.key,
            client_ca=self._certificates.ca("callers"),
            log_format=self._settings.logging.format,
            forbidden=self._state.root,
            user=number_of(self._state.root, slot.rpartition("-")[0]) if os.geteuid() == 0 else None,
            temporary=temporary,
            environment={
                **release.environment,
                "TMPDIR": str(temporary),
                "TROTH_API_URL": f"https://{self._private}",
                "TROTH_API_CA": str(self._certificates.ca("instances")),
                "TROTH_API_CERTIFICATE": str(client.certificate),
                "TROTH_API_KEY": str(client.key),
            },
        )


def _holders(service: str, turn: str) -> tuple[Holder, ...]:
    """Whose certificates an instance needs: its own as a server, and as a client where it is an
    application."""
    own = Holder(trust="instances", name=turn, usage="server", dns=(service_name(service),))
    client = Holder(trust="apps", name=turn, usage="client")
    return (own,) if service == WEB else (own, client)


def turn_of(slot: str, generation: int) -> str:
    """Which of the two places of its slot a generation takes: `web-1-0`, `web-1-1`, `web-1-0`, …"""
    return f"{slot}-{generation % 2}"


def service_of(holder: Holder) -> str | None:
    """The service whose instance holds this certificate: `portal` of `portal-1-0`; None for anybody else."""
    if holder.trust not in ("instances", "apps") or holder == PRIVATE:
        return None
    return _service(holder.name)


def _service(turn: str) -> str:
    return turn.rsplit("-", 2)[0]


def _read_lines(file: Path) -> tuple[str, ...]:
    return tuple(file.read_text().split()) if file.exists() else ()


def _turns(settings: Settings) -> tuple[str, ...]:
    """`web-1-0`, `web-1-1`, `web-2-0`, …"""
    sizes = {WEB: settings.web.most} | {name: app.most for name, app in settings.apps.items()}
    return tuple(
        f"{service}-{number}-{turn}"
        for service, size in sizes.items()
        for number in range(1, size + SPARE_SLOTS + 1)
        for turn in (0, 1)
    )
