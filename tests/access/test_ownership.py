"""A domain is its owner's when the record stands there, asked of a real name server."""

from collections.abc import AsyncGenerator, Callable

import pytest

from support.name_server import NameServer, name_server
from troth.access.ownership import (
    MOST_RECORDS,
    Challenge,
    NameServers,
    NotOwned,
    new_challenge,
    require_ownership,
)
from troth.hosting.ports import free_ports

DOMAIN = "portal.customer.example"


@pytest.fixture
async def dns() -> AsyncGenerator[NameServer]:
    async with name_server() as server:
        yield server


async def check(dns: NameServer, challenge: Challenge) -> None:
    await require_ownership(challenge, NameServers(("127.0.0.1",), dns.port), seconds=2.0)


async def test_the_record_proves_the_domain(dns: NameServer) -> None:
    challenge = new_challenge(DOMAIN)
    dns.publish(challenge.name, challenge.value)
    await check(dns, challenge)
    assert dns.asked == [f"_troth-challenge.{DOMAIN}"]


async def test_a_record_in_parts_beside_others_is_found(dns: NameServer) -> None:
    challenge = new_challenge(DOMAIN)
    dns.publish(challenge.name, "v=spf1 -all")
    dns.publish(challenge.name, challenge.value[:20], challenge.value[20:])
    await check(dns, challenge)


async def test_a_missing_record_is_told_with_what_to_publish(dns: NameServer) -> None:
    challenge = new_challenge(DOMAIN)
    with pytest.raises(NotOwned) as refused:
        await check(dns, challenge)
    assert refused.value.seen == "absent"
    assert challenge.record in refused.value.hint


async def test_the_record_of_another_challenge_proves_nothing(dns: NameServer) -> None:
    challenge = new_challenge(DOMAIN)
    dns.publish(challenge.name, new_challenge(DOMAIN).value)
    with pytest.raises(NotOwned) as refused:
        await check(dns, challenge)
    assert refused.value.seen == "other"


def shouted(value: str) -> str:
    return value.upper()


def padded(value: str) -> str:
    return f"{value} "


def cut(value: str) -> str:
    return value[:-1]


@pytest.mark.parametrize("change", [shouted, padded, cut])
async def test_a_record_that_is_nearly_right_is_wrong(dns: NameServer, change: Callable[[str], str]) -> None:
    challenge = new_challenge(DOMAIN)
    dns.publish(challenge.name, change(challenge.value))
    with pytest.raises(NotOwned):
        await check(dns, challenge)


async def test_a_failing_name_server_is_no_proof_and_no_denial(dns: NameServer) -> None:
    challenge = new_challenge(DOMAIN)
    dns.failing.add(challenge.name)
    with pytest.raises(NotOwned) as refused:
        await check(dns, challenge)
    assert refused.value.seen == "unreachable"


async def test_a_silent_name_server_is_given_up() -> None:
    servers = NameServers(("127.0.0.1",), free_ports(1)[0])
    with pytest.raises(NotOwned) as refused:
        await require_ownership(new_challenge(DOMAIN), servers, seconds=0.3)
    assert refused.value.seen == "unreachable"


async def test_records_without_end_are_not_read(dns: NameServer) -> None:
    challenge = new_challenge(DOMAIN)
    for number in range(MOST_RECORDS):
        dns.publish(challenge.name, f"{number}")
    dns.publish(challenge.name, challenge.value)
    with pytest.raises(NotOwned) as refused:
        await check(dns, challenge)
    assert refused.value.seen == "other"


def test_every_challenge_is_another() -> None:
    assert new_challenge(DOMAIN).token != new_challenge(DOMAIN).token
