"""Refresh tokens exchanged in one call stay apart: each has its own tenant, outcome, trail and end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from uuid_utils.compat import uuid7

from support.access import CALLBACK, Access, House, furnish
from support.client import CHALLENGE, VERIFIER
from troth.access.oauth.authorize import AuthorizationRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.decision import Granting
from troth.access.oauth.refresh_tokens import RefreshToken
from troth.access.oauth.renewals import Renewal, Renewals
from troth.access.scopes import scope_set
from troth.access.sessions import Begun
from troth.core.db import Database
from troth.core.errors import OutcomeUnknown, Unavailable

SCOPE = "openid tickets:read:own"


class Watched:
    """The database with a gate in front, and a note of how many tokens each call carried."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.open = asyncio.Event()
        self.shared: list[int] = []
        self.alone = 0
        self.fails: Exception | None = None

    async def fetch(self, query: str, *args: Any, idempotent: bool | None = None) -> Sequence[Any]:
        self.shared.append(len(args[0]))
        await self._pass()
        return await self._database.fetch(query, *args, idempotent=idempotent)

    async def fetchrow(self, query: str, *args: Any, idempotent: bool | None = None) -> Any:
        self.alone += 1
        await self._pass()
        return await self._database.fetchrow(query, *args, idempotent=idempotent)

    async def _pass(self) -> None:
        await self.open.wait()
        if self.fails is not None:
            raise self.fails


async def family(house: House, begun: Begun | None = None) -> Renewal:
    """A new grant of the house's person, and the exchange of its first refresh token."""
    access = house.access
    begun = begun or await house.begin()
    client = await access.clients.find(house.domain, "ledger")
    assert client is not None
    asked = AuthorizationRequest(
        client=client.id, redirect_uri=CALLBACK, scope=SCOPE, challenge=CHALLENGE, asked_at=0
    )
    granting = Granting(scope_set(SCOPE.split()))
    granted = await access.decisions.issue(house.domain, asked, begun.session, granting)
    code = granted.location.partition("code=")[2].partition("&")[0]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    answer = await access.token_endpoint.answer(house.domain, client, ClientRequest(form=form))
    token = await access.refresh_tokens.read(house.domain, answer.refresh_token)
    assert isinstance(token, RefreshToken)
    return Renewal(
        domain=house.domain.name,
        grant=token.grant,
        generation=token.generation,
        secret_hash=token.secret_hash,
        client=client.id,
        confirmation=None,
        overlap=timedelta(seconds=5),
        trace="test",
        call=uuid7(),
    )


def after(renewal: Renewal, generations: int = 1, **changes: Any) -> Renewal:
    """A later exchange of the same family."""
    return msgspec.structs.replace(
        renewal, generation=renewal.generation + generations, call=uuid7(), **changes
    )


async def at_once(renewals: Renewals, watched: Watched, *asked: Renewal) -> list[Any]:
    """What each is told when all are asked for while one call is under way."""
    tasks = [asyncio.create_task(renewals.renew(one)) for one in asked]
    await asyncio.sleep(0)
    watched.open.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def outcomes(renewals: Renewals, watched: Watched, *asked: Renewal) -> list[str]:
    return [row["outcome"] for row in await at_once(renewals, watched, *asked)]


async def test_tokens_that_wait_are_exchanged_in_one_call(database: Database, house: House) -> None:
    watched = Watched(database)
    families = [await family(house) for _ in range(6)]
    rows = await at_once(Renewals(watched, lanes=1, most=4), watched, *families)
    assert (watched.alone, watched.shared) == (0, [1, 4, 1])
    for one, row in zip(families, rows, strict=True):
        assert (row["outcome"], row["session_id"], row["generation"]) == ("renewed", one.grant, 1)
        assert (row["person_id"], row["scopes"]) == (house.person, SCOPE.split())


async def test_a_lone_token_waits_for_nobody(database: Database, house: House) -> None:
    watched = Watched(database)
    watched.open.set()
    renewals, one = Renewals(watched), await family(house)
    for generation in range(3):
        row = await renewals.renew(after(one, generation))
        assert row is not None
        assert row["outcome"] == "renewed"
    assert (watched.alone, watched.shared) == (0, [1, 1, 1])


async def test_a_shared_call_tells_what_a_call_alone_tells(database: Database, house: House) -> None:
    """Every column: the two functions are two texts."""
    watched = Watched(database)
    one = await family(house)
    _, shared, _ = await at_once(
        Renewals(watched, lanes=1), watched, await family(house), one, await family(house)
    )
    alone = await Renewals(database).renew(after(one, 0))
    assert alone is not None
    told = dict(shared.items())
    del told["place"]
    assert told == dict(alone.items()) | {"outcome": "renewed"}


async def test_every_token_in_a_shared_call_meets_its_own_fate(access: Access, database: Database) -> None:
    """Two tenants, and all that can be wrong with a token; each among good ones."""
    here, there = await furnish(access), await furnish(access)
    good = [await family(house) for house in (here, there, here)]
    used, late = await family(here), await family(here)
    gone = await here.begin()
    ended = await family(here, gone)
    await access.sessions.end(here.domain, gone.token)
    plain = Renewals(database)
    for each in (used, after(used), late):
        row = await plain.renew(each)
        assert row is not None
        assert row["outcome"] == "renewed"
    cases = [
        (good[0], "renewed"),
        (after(used, 0), "replayed"),
        (good[1], "renewed"),
        (after(late, 0), "repeated"),
        (after(ended, 0), "over"),
        (msgspec.structs.replace(await family(here), secret_hash=bytes(32)), "foreign"),
        (msgspec.structs.replace(await family(here), domain=there.domain.name), "foreign"),
        (msgspec.structs.replace(await family(here), client="other"), "foreign"),
        (msgspec.structs.replace(await family(here), domain="nobody.test"), "foreign"),
        (msgspec.structs.replace(await family(here), confirmation='{"jkt":"x"}'), "unbound"),
        (after(await family(here), 7), "foreign"),
        (good[2], "renewed"),
    ]
    watched = Watched(database)
    first = await family(here)
    told = await outcomes(Renewals(watched, lanes=1), watched, first, *(asked for asked, _ in cases))
    assert told == ["renewed", *(outcome for _, outcome in cases)]
    assert watched.shared == [1, len(cases)]
    events = await access.events(here.domain.name)
    assert (events.count("refresh.replayed"), events.count("refresh.repeated")) == (1, 1)
    # The replayed family ended, and no other.
    assert await outcomes(Renewals(database), watched, after(used, 2)) == ["over"]
    assert await outcomes(Renewals(database), watched, *map(after, good)) == ["renewed"] * 3


async def test_one_token_in_several_tabs_at_once_gives_one_successor(
    access: Access, database: Database, house: House
) -> None:
    watched = Watched(database)
    twice, others = await family(house), [await family(house) for _ in range(3)]
    tabs = [twice, after(twice, 0), after(twice, 0)]
    told = await outcomes(Renewals(watched, lanes=1), watched, others[0], *tabs, *others[1:])
    assert sorted(told[1:4]) == ["renewed", "repeated", "repeated"]
    assert [told[0], *told[4:]] == ["renewed"] * 3
    assert watched.shared == [1, 2], "tabs of one family are asked about one by one"
    assert (await access.events(house.domain.name)).count("refresh.repeated") == 2


async def test_a_family_that_somebody_holds_keeps_no_other_waiting(
    access: Access, database: Database, house: House
) -> None:
    watched = Watched(database)
    held, others = await family(house), [await family(house) for _ in range(3)]
    renewals = Renewals(watched, lanes=1)
    async with access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "select from troth.refresh_family where session_id = $1 for update", held.grant
        )
        waits = asyncio.create_task(renewals.renew(others[0]))
        await asyncio.sleep(0)
        late = asyncio.create_task(renewals.renew(held))
        rows = await at_once(renewals, watched, *others[1:])
        assert [row["outcome"] for row in rows] == ["renewed"] * 2
        assert not late.done()
    assert [row["outcome"] for row in await asyncio.gather(waits, late) if row] == ["renewed"] * 2


async def test_a_token_that_breaks_the_call_fails_alone(database: Database, house: House) -> None:
    broken, others = await family(house), [await family(house) for _ in range(3)]

    class Damaged(Watched):
        async def fetch(self, query: str, *args: Any, idempotent: bool | None = None) -> Sequence[Any]:
            if broken.grant in args[1]:
                raise ValueError("invalid page in block 7")
            return await super().fetch(query, *args, idempotent=idempotent)

        async def fetchrow(self, query: str, *args: Any, idempotent: bool | None = None) -> Any:
            if broken.grant == args[1]:
                raise ValueError("invalid page in block 7")
            return await super().fetchrow(query, *args, idempotent=idempotent)

    watched = Damaged(database)
    answers = await at_once(Renewals(watched, lanes=1), watched, others[0], broken, *others[1:])
    assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False, False]
    assert [row["outcome"] for row in answers if not isinstance(row, ValueError)] == ["renewed"] * 3


async def test_what_was_never_sent_is_not_told_as_unknown(database: Database, house: House) -> None:
    watched = Watched(database)
    watched.fails = OutcomeUnknown("Look before you repeat it.")
    families = [await family(house) for _ in range(4)]
    sent, *waited = await at_once(Renewals(watched, lanes=1), watched, *families)
    assert type(sent) is OutcomeUnknown
    assert [type(each) for each in waited] == [Unavailable] * 3
    watched.fails = None
    assert await outcomes(Renewals(watched), watched, *families[1:]) == ["renewed"] * 3


async def test_nothing_of_a_token_shows_in_its_text(house: House) -> None:
    one = await family(house)
    assert one.secret_hash.hex() not in repr(one)
    assert str(one.secret_hash) not in repr(one)
