"""A keeper that takes over goes on with the settings, ports and certificates of the one before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from troth.core.ca import Authority, read_certificate
from troth.core.config import load_settings
from troth.core.errors import ConfigError, PlatformError
from troth.core.state import State, open_state
from troth.hosting.plan import Launch
from troth.hosting.ports import PublicPorts
from troth.wiring.certificates import Certificates, Holder
from troth.wiring.resuming import PortBook, settings_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "residents" / "troth.toml"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEB = Holder(trust="instances", name="web-1-1", usage="server", dns=("web.services.troth.internal",))
CLIENT = Holder(trust="callers", name="edge", usage="client")


class Clock:
    """Stands where a test puts it."""

    at = NOON

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


def rising(taken: frozenset[int]) -> Iterator[int]:
    yield from (port for port in range(20_000, 21_000) if port not in taken)


def never() -> PublicPorts:
    raise AssertionError("the edge holds its ports")


def test_settings_are_those_of_the_keeper_before_whatever_the_file_says_now(
    state: State, tmp_path: Path
) -> None:
    config = tmp_path / "troth.toml"
    config.write_bytes(EXAMPLE.read_bytes())
    for name in ("schemas", "logos", "portal"):
        (tmp_path / name).symlink_to(EXAMPLE.parent / name)
    launch = Launch(config=config, state=state.root, members=1, https_port=9443)
    before = settings_of(launch, resume=False)
    assert (before.database.members, before.edge.https_port) == (1, 9443)
    config.write_text("version = = 1")
    assert settings_of(launch, resume=True) == before
    with pytest.raises(ConfigError):
        settings_of(launch, resume=False)


def test_every_setting_survives(state: State) -> None:
    settings = load_settings(EXAMPLE)
    launch = Launch(config=EXAMPLE, state=state.root)
    assert settings_of(launch, resume=False) == settings
    assert settings_of(launch, resume=True) == settings
    assert (state.run / "settings.json").stat().st_mode & 0o777 == 0o600


def test_without_settings_nothing_is_taken_over(state: State) -> None:
    with pytest.raises(PlatformError, match="no settings"):
        settings_of(Launch(config=EXAMPLE, state=state.root), resume=True)


def test_ports_come_again_in_their_order_and_new_ones_after_them(state: State) -> None:
    book = PortBook(state, resume=False)
    assert book.public(lambda: PublicPorts(8443, 8080)) == PublicPorts(8443, 8080)
    first = list(islice(book.private(rising), 3))
    again = PortBook(state, resume=True)
    assert again.public(never) == PublicPorts(8443, 8080)
    more = list(islice(again.private(rising), 5))
    assert more[:3] == first
    assert len(set(more)) == 5
    third = PortBook(state, resume=True)
    third.public(never)
    assert list(islice(third.private(rising), 5)) == more
    assert list(islice(PortBook(state, resume=False).private(rising), 1)) == [20_000]


def test_a_certificate_that_is_good_stays_and_falls_due_when_it_would_have(state: State) -> None:
    clock = Clock()
    before = Certificates(state, timedelta(hours=3), clock)
    files = [before.issue(holder) for holder in (WEB, CLIENT)]
    written = [one.certificate.read_bytes() for one in files]
    clock.at = NOON + timedelta(minutes=115)
    after = Certificates(state, timedelta(hours=3), clock)
    assert after.is_kept(WEB)
    assert [after.obtain(holder) for holder in (WEB, CLIENT)] == files
    assert [one.certificate.read_bytes() for one in files] == written
    assert after.due(lambda _: True) == ()
    assert after.living("callers") == before.living("callers")
    clock.at = NOON + timedelta(minutes=121)
    assert set(after.due(lambda _: True)) == {WEB, CLIENT}


@pytest.mark.parametrize("fault", ["missing", "over", "other names", "other key", "other authority", "torn"])
def test_a_certificate_that_is_not_good_is_issued_anew(state: State, fault: str) -> None:
    clock = Clock()
    before = Certificates(state, timedelta(hours=3), clock)
    files = before.issue(WEB)
    wanted = WEB
    if fault == "missing":
        files.certificate.unlink()
    if fault == "over":
        clock.at = NOON + timedelta(hours=3)
    if fault == "other names":
        wanted = msgspec.structs.replace(WEB, dns=("portal.services.troth.internal",))
    if fault == "other key":
        files.key.write_bytes(before.issue(CLIENT).key.read_bytes())
    if fault == "other authority":
        for file in (state.authorities / "instances").iterdir():
            file.unlink()
        Authority.open(state.authorities, "instances", now=NOON)
    if fault == "torn":
        files.certificate.write_bytes(files.certificate.read_bytes()[:100])
    old = files.certificate.read_bytes() if files.certificate.exists() else b""
    after = Certificates(state, timedelta(hours=3), clock)
    assert not after.is_kept(wanted)
    new = after.obtain(wanted).certificate.read_bytes()
    assert new != old
    assert read_certificate(new).dns == wanted.dns
    assert after.is_kept(wanted)
