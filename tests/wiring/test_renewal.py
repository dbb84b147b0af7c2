"""Renewed certificates reach whoever serves them, also when the first attempt fails half-way."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from troth.core.config import load_settings
from troth.core.errors import PlatformError
from troth.core.state import State, open_state
from troth.data.postgres import Binaries
from troth.data.replicas import Member
from troth.hosting import isolation
from troth.hosting.instance import InstanceView, Release
from troth.hosting.ports import PublicPorts, private_ports
from troth.hosting.supervisor import Supervisor
from troth.wiring.blueprint import WebConfiguration, service_of
from troth.wiring.certificates import Certificates
from troth.wiring.database import DatabasePart
from troth.wiring.private_network import PrivateNetwork
from troth.wiring.services import ServicesPart

EXAMPLE = Path(__file__).parents[2] / "examples" / "residents" / "troth.toml"


class Clock:
    """Stands where a test puts it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


class Room:
    """What a part of the platform is made with."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.state: State = open_state(folder / "s")
        self.certificates = Certificates(self.state, timedelta(hours=3), self.clock)
        self.supervisor = Supervisor(self.state.root, folder / "crashes", isolation.inside(False))

    def grow_old(self) -> None:
        self.clock.at += timedelta(minutes=130)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


async def test_a_member_that_did_not_reload_is_told_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = DatabasePart(
        room.state,
        room.certificates,
        room.supervisor,
        members=3,
        programs=(Binaries(Path("/nowhere"), 17, 9, "configured"), Path("/nowhere/etcd")),
        ports=private_ports(),
    )
    down, told = {"member-1"}, list[str]()

    async def reload(member: Member) -> None:
        if member.name in down:
            raise PlatformError(f"{member.name} did not reload its certificates.")
        told.append(member.name)

    monkeypatch.setattr(part.command, "reload", reload)
    room.grow_old()
    with pytest.raises(PlatformError, match="member-1"):
        await part.renew_certificates()
    assert sorted(told) == ["member-2", "member-3"], "one that is down keeps nobody else from hearing of it"
    down.clear()
    await part.renew_certificates()
    await part.renew_certificates()
    assert sorted(told) == ["member-1", "member-2", "member-3"]
    await part.command.close()


class Hall:
    """Stands in for one service's fleet: which generation lives in each slot, and which slots fail."""

    def __init__(self, service: str, prepare: Callable[[str, str, int, Release], object]) -> None:
        self.service = service
        self.living = {f"{service}-1": 1, f"{service}-2": 1}
        self.broken: set[str] = set()
        self._prepare = prepare
        self.release = Release(name="first", target="toy:app", folder=Path("/nowhere"))
        for slot, generation in self.living.items():
            prepare(service, slot, generation, self.release)

    async def replace_all(self) -> None:
        for slot in self.living:
            self._prepare(self.service, slot, self.living[slot] + 1, self.release)
            if slot in self.broken:
                raise PlatformError(f"{slot} was not ready.")
            self.living[slot] += 1

    def views(self) -> tuple[InstanceView, ...]:
        return tuple(self._view(slot, generation) for slot, generation in self.living.items())

    def _view(self, slot: str, generation: int) -> InstanceView:
        return InstanceView(
            service=self.service,
            name=slot,
            phase="ready",
            endpoint="127.0.0.1:1",
            generation=generation,
            since=datetime.now(UTC),
            pid=None,
            restarts=0,
        )


async def test_after_a_replacement_that_failed_half_way_the_living_keep_their_certificates(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, ports = load_settings(EXAMPLE), PublicPorts(8443, 8080)
    part = ServicesPart(
        settings,
        room.state,
        room.certificates,
        room.supervisor,
        ports=ports,
        private=private_ports(),
        web=nobody,
        network=PrivateNetwork(settings, room.state, room.supervisor),
    )
    app = next(iter(settings.apps))
    hall = Hall(app, part._blueprint.prepare)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setitem(part.fleets, app, hall)

    def held() -> list[str]:
        found = room.certificates.holders(lambda one: service_of(one) == app and one.trust == "instances")
        return sorted(one.name for one in found)

    hall.broken.add(f"{app}-2")
    room.grow_old()
    with pytest.raises(PlatformError, match="not ready"):
        await part.renew_certificates()
    assert held() == [f"{app}-1-0", f"{app}-2-1"]
    hall.broken.clear()
    await part.renew_certificates()
    assert hall.living == {f"{app}-1": 3, f"{app}-2": 2}
    assert held() == [f"{app}-1-1", f"{app}-2-0"]
    for holder in room.certificates.holders(lambda one: service_of(one) == app):
        assert room.certificates.files(holder).key.is_file()


def nobody() -> WebConfiguration:
    raise AssertionError("no web instance is described here")
