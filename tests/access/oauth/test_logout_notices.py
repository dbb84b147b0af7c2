"""Clients are told of the end of what they were granted: once, signed, and where they registered alone."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from uuid_utils.compat import uuid7

from support.access import House, furnish
from support.clients import add_client
from support.waiting import until
from troth.access.forgery import claims_of
from troth.access.oauth.logout_notices import (
    EVENT,
    LOGOUT_TOKEN,
    Delivery,
    LogoutNotices,
    is_public,
    wait_before,
)
from troth.access.sessions import Begun
from troth.access.signing import SigningKeys
from troth.core.ca import Authority, Subject, write_leaf

PORT = 8443


class Listener:
    """A client's logout endpoint over real TLS; answers what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[str] = []
        self.port = 0
        self.context = ssl.create_default_context()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.bodies.append((await reader.readexactly(length)).decode())
        extra = "Location: https://localhost/elsewhere\r\n" if self.status == 302 else ""
        rest = "Content-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 {self.status} x\r\n{extra}{rest}".encode())
        await writer.drain()
        writer.close()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/backchannel?from=troth"


@asynccontextmanager
async def listening(folder: Path) -> AsyncGenerator[Listener]:
    now = datetime.now(UTC)
    authority = Authority.open(folder, "partner", now=now)
    subject = Subject(common_name="localhost", dns=("localhost",), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), folder, "partner-leaf")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.certificate, leaf.key)
    listener = Listener()
    listener.context.load_verify_locations(cafile=authority.certificate_file)
    server = await asyncio.start_server(listener.answer, "127.0.0.1", 0, ssl=context)
    listener.port = int(server.sockets[0].getsockname()[1])
    async with server:
        yield listener


@pytest.fixture
async def partner(tmp_path: Path) -> AsyncGenerator[Listener]:
    async with listening(tmp_path) as listener:
        yield listener


def worker(house: House, partner: Listener, *, private: bool = True) -> LogoutNotices:
    access = house.access
    return LogoutNotices(
        access.owner, access.keys, Delivery(partner.context, private), access.clock, port=PORT
    )


async def connected(house: House, partner: Listener, client: str = "teller") -> tuple[Begun, str]:
    """A session under which `client` was granted something; the grant's id."""
    await add_client(house, client, backchannel_logout_uri=partner.url)
    return await connect(house, client)


async def connect(house: House, client: str) -> tuple[Begun, str]:
    begun, grant = await house.begin(), uuid7()
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "select troth.begin_grant($1, $2, $3, $4, '{openid}', null, null, null, '')",
            house.domain.name,
            grant,
            begun.session.id,
            client,
        )
    return begun, str(grant)


async def rounds(notices: LogoutNotices, partner: Listener, count: int) -> None:
    """Work until so many were told; other tests' notices share the table."""
    async with asyncio.timeout(10):
        while len(partner.bodies) < count:
            await notices.work()
    await until(lambda: len(partner.bodies) >= count)


def token_in(body: str) -> str:
    form = parse_qs(body, strict_parsing=True)
    assert list(form) == ["logout_token"]
    return form["logout_token"][0]


async def outcome(house: House, grant: str) -> tuple[str | None, int, bool]:
    row = await house.access.auditor.fetchrow(
        "select outcome, attempts, done_at is not null as done from troth.logout_notice"
        " where grant_id = $1::uuid",
        grant,
    )
    return (None, 0, False) if row is None else (row["outcome"], row["attempts"], row["done"])


async def test_a_client_is_told_of_a_sign_out_with_a_token_that_is_nothing_else(
    house: House, partner: Listener
) -> None:
    begun, grant = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    await rounds(worker(house, partner), partner, 1)
    token = token_in(partner.bodies[0])
    claims = await house.access.keys.verify(house.domain, token, LOGOUT_TOKEN, "teller")
    assert (claims.sub, claims.sid) == (str(house.person), grant)
    assert claims.jti
    assert claims.nonce == ""
    assert claims.exp - claims.iat <= 120
    assert claims_of(token)["events"] == {EVENT: {}}
    assert await outcome(house, grant) == ("told", 1, True)


@pytest.mark.parametrize("how", ["password", "disabled", "tenant"])
async def test_every_end_is_told(house: House, partner: Listener, how: str) -> None:
    _, grant = await connected(house, partner)
    owner = house.access.owner
    if how == "password":
        await owner.execute("select troth.set_password($1, $2, 'x')", house.tenant.id, house.person)
    elif how == "disabled":
        await owner.execute("select troth.set_disabled($1, $2, true)", house.tenant.id, house.person)
    else:
        await owner.execute("update troth.tenant set active = false where id = $1", house.tenant.id)
    await rounds(worker(house, partner), partner, 1)
    assert await outcome(house, grant) == ("told", 1, True)


async def test_an_end_for_two_reasons_is_told_once(house: House, partner: Listener) -> None:
    begun, grant = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    owner = house.access.owner
    await owner.execute("select troth.set_disabled($1, $2, true)", house.tenant.id, house.person)
    notices = worker(house, partner)
    await rounds(notices, partner, 1)
    await notices.work()
    assert len(partner.bodies) == 1
    assert await outcome(house, grant) == ("told", 1, True)


async def test_a_client_that_did_not_ask_is_told_nothing(house: House) -> None:
    begun, grant = await connect(house, "ledger")
    await house.access.sessions.end(house.domain, begun.token)
    assert await outcome(house, grant) == (None, 0, False)


async def test_a_disabled_client_is_told_nothing(house: House, partner: Listener) -> None:
    begun, grant = await connected(house, partner)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.client set disabled = true where id = 'teller'")
    await house.access.sessions.end(house.domain, begun.token)
    assert await outcome(house, grant) == (None, 0, False)


@pytest.mark.parametrize(("status", "again"), [(400, False), (500, True), (302, True), (404, True)])
async def test_what_came_of_it_is_kept_and_only_what_may_pass_is_tried_again(
    house: House, partner: Listener, status: int, again: bool
) -> None:
    partner.status = status
    begun, grant = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    await rounds(worker(house, partner), partner, 1)
    said, attempts, done = await outcome(house, grant)
    assert said is not None
    assert str(status) in said
    assert (attempts, done) == (1, not again)
    assert len(partner.bodies) == 1  # a redirect is not followed


async def test_a_destination_that_is_not_public_is_not_called(house: House, partner: Listener) -> None:
    begun, grant = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    notices = worker(house, partner, private=False)
    async with asyncio.timeout(10):
        while (await outcome(house, grant))[0] is None:
            await notices.work()
    assert await outcome(house, grant) == ("the destination is not a public address", 1, True)
    assert partner.bodies == []


async def test_a_client_of_another_authority_is_not_told(house: House, partner: Listener) -> None:
    partner.context = ssl.create_default_context()  # does not know the partner's authority
    begun, grant = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    notices = worker(house, partner)
    async with asyncio.timeout(10):
        while (await outcome(house, grant))[0] is None:
            await notices.work()
    said, _, done = await outcome(house, grant)
    assert said is not None
    assert said.startswith("no answer")
    assert not done
    assert partner.bodies == []


async def test_a_tenant_whose_key_does_not_open_keeps_no_other_from_being_told(
    house: House, partner: Listener
) -> None:
    broken = await furnish(house.access)
    ends = [await connected(one, partner) for one in (broken, house)]
    await house.access.keys.ring(broken.domain)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(broken.tenant.id))
        await connection.execute(
            "update troth.signing_key set private_key = '\\x00' where domain = $1", broken.domain.name
        )
    access = house.access
    await asyncio.gather(
        *(
            access.sessions.end(one.domain, begun.token)
            for one, (begun, _) in zip((broken, house), ends, strict=True)
        )
    )
    keys = SigningKeys(access.database, access.sealer, access.clock)
    await rounds(
        LogoutNotices(access.owner, keys, Delivery(partner.context, True), access.clock, port=PORT),
        partner,
        1,
    )
    assert await outcome(house, ends[1][1]) == ("told", 1, True)
    said, attempts, done = await outcome(broken, ends[0][1])
    assert said is not None
    assert said.startswith("not signed")
    assert (attempts, done) == (1, False)


async def test_two_workers_tell_once(house: House, partner: Listener) -> None:
    begun, _ = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    workers = [worker(house, partner) for _ in range(4)]
    await asyncio.gather(*(one.work() for one in workers))
    await rounds(workers[0], partner, 1)
    assert len(partner.bodies) == 1


async def test_one_tenants_end_tells_no_other(house: House, partner: Listener) -> None:
    other = await furnish(house.access)
    _, grant = await connected(other, partner)
    begun, _ = await connected(house, partner)
    await house.access.sessions.end(house.domain, begun.token)
    await rounds(worker(house, partner), partner, 1)
    assert await outcome(other, grant) == (None, 0, False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - not bound to, but refused
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("::ffff:127.0.0.1", False),
        ("224.0.0.1", False),
    ],
)
def test_only_public_addresses_are_called(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_the_wait_doubles() -> None:
    assert [wait_before(attempt).total_seconds() for attempt in (1, 2, 3)] == [5, 10, 20]
