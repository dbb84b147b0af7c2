"""The firewall's policy from troth.toml, and what the platform says of it where it cannot look after it."""

import os
from pathlib import Path

import msgspec
import pytest

from support.platform import EXAMPLE
from troth.core.clock import SystemClock
from troth.core.config import load_settings
from troth.core.process import Endpoint
from troth.core.secret import write_secret
from troth.core.settings import DnsSettings, FirewallSettings, MailSettings, Settings
from troth.core.state import State, open_state
from troth.hosting.firewall.changing import Record
from troth.hosting.firewall.nft import Nft
from troth.hosting.firewall.rules import Reached
from troth.hosting.ports import PublicPorts
from troth.wiring import firewall as module
from troth.wiring.firewall import Firewall, Names, policy_of, present_ports, public_addresses

PORTS = PublicPorts(443, 80)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


def settings() -> Settings:
    return msgspec.structs.replace(
        load_settings(EXAMPLE),
        mail=MailSettings(host="smtp.provider.example", sender="a@b.example", region="DE"),
        dns=DnsSettings(servers=("192.0.2.53", "127.0.0.53"), port=5353),
        firewall=FirewallSettings(
            administrators=("203.0.113.0/24",), outgoing=("192.0.2.0/24:443", "[2001:db8::1]:443")
        ),
    )


def firewall(state: State) -> Firewall:
    def no_database(_: str) -> object:
        raise AssertionError("nothing is written")

    return Firewall(settings(), state, no_database, PORTS)  # pyright: ignore[reportArgumentType]


def test_the_policy_opens_the_edges_ports_and_what_is_declared_and_nothing_else() -> None:
    policy = policy_of(settings(), PORTS)
    assert (policy.tcp, policy.udp) == ((80, 443), (443,))
    assert policy.administrators == ("203.0.113.0/24",)
    assert set(policy.reached) == {
        Reached("smtp.provider.example", 587, "mail relay"),
        Reached("192.0.2.0/24", 443, "what this machine fetches"),
        Reached("2001:db8::1", 443, "what this machine fetches"),
    }
    assert Endpoint("192.0.2.53", 5353) in policy.name_servers
    assert not any(one.host.startswith("127.") for one in policy.name_servers)


async def test_networks_and_addresses_are_opened_without_asking_and_a_name_without_answer_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(host: str, port: int, *_: object) -> list[tuple[object, ...]]:
        if host == "smtp.provider.example":
            raise OSError("no such name")
        return [(0, 0, 0, "", (host, port))]

    monkeypatch.setattr("socket.getaddrinfo", answer)
    names = Names(policy_of(settings(), PORTS))
    opened = await names.opened()
    assert opened.reached == (("192.0.2.0/24", 443), ("2001:db8::1", 443))
    assert names.unanswered() == ("smtp.provider.example",)


async def test_a_keeper_that_is_not_root_says_what_to_do_and_touches_nothing(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    write_secret(
        state.root / "firewall.json",
        msgspec.json.encode(Record(confirmed=policy_of(settings(), PORTS), at=SystemClock().now())),
    )
    part = firewall(state)
    assert await part.work() == ""
    assert part.drills() == ()
    finding = await part.probe().look()
    assert finding.verdict == "unknown"
    assert "As root: troth firewall apply" in finding.evidence


async def test_where_nothing_was_confirmed_the_keeper_leaves_the_filter_alone(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> None:
        raise AssertionError("the filter was looked at")

    monkeypatch.setattr(Nft, "find", never)
    assert await firewall(state).work() == ""
    assert await firewall(state).troubles() == ()


def test_a_damaged_record_hides_the_filter_and_is_told(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Nft, "find", lambda: None)
    (state.root / "firewall.json").write_text("{")
    assert "cannot be read" in firewall(state).view().hidden


def test_the_ports_are_those_of_the_file_while_nothing_runs(state: State) -> None:
    assert present_ports(settings(), state) == PORTS


@pytest.mark.parametrize(("edge", "own"), [("203.0.113.5", ("203.0.113.5",)), ("0.0.0.0", ("192.0.2.9",))])  # noqa: S104
def test_strangers_try_the_edges_address_or_all(
    edge: str, own: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "own_addresses", lambda: frozenset({"127.0.0.1", "fe80::1", "192.0.2.9"}))
    assert public_addresses(edge) == own
