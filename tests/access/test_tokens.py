"""Access tokens and the keys that sign them."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from support.access import Access, House, furnish
from troth.access.forgery import forgeries
from troth.access.signing import SigningKeys
from troth.access.tokens import AccessTokens, Bearer
from troth.core.errors import Unauthenticated

SCOPES = ("tickets:read:own",)


def bearer(session: UUID | None = None) -> Bearer:
    return Bearer(session=session or uuid4(), person=uuid4(), client="ledger", scopes=SCOPES)


def second_instance(access: Access) -> AccessTokens:
    """What another process would hold: the same database, its own memory."""
    return AccessTokens(SigningKeys(access.database, access.sealer, access.clock), access.clock)


async def refusal(tokens: AccessTokens, house: House, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.verify(house.domain, token)
    assert caught.value.error == "invalid_token"
    return caught.value.detail


async def test_a_token_says_whose_it_is(house: House) -> None:
    who = bearer()
    minted = await house.access.tokens.mint(house.domain, who)
    principal = await house.access.tokens.verify(house.domain, minted.token)
    assert (principal.session, principal.person, principal.client) == (who.session, who.person, "ledger")
    assert (principal.tenant, principal.scopes) == (house.tenant.id, SCOPES)


async def test_a_token_ends_after_five_minutes_though_it_was_seen_before(house: House) -> None:
    tokens = house.access.tokens
    minted = await tokens.mint(house.domain, bearer())
    await tokens.verify(house.domain, minted.token)
    house.access.clock.advance(seconds=301)
    await tokens.verify(house.domain, minted.token)
    house.access.clock.advance(seconds=2)
    assert (await refusal(tokens, house, minted.token)).startswith("expired")
    assert (await refusal(second_instance(house.access), house, minted.token)).startswith("expired")


async def test_every_forgery_is_refused_also_beside_a_good_token(house: House) -> None:
    tokens = house.access.tokens
    minted = await tokens.mint(house.domain, bearer())
    await tokens.verify(house.domain, minted.token)
    for forged in forgeries(minted.token).values():
        await refusal(tokens, house, forged)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é", "\ud800", "a" * 100_000, "..", "null"])
async def test_other_texts_are_no_tokens(house: House, token: str) -> None:
    await refusal(house.access.tokens, house, token)


async def test_a_token_of_one_domain_is_none_on_another(house: House) -> None:
    other = await furnish(house.access)
    minted = await house.access.tokens.mint(house.domain, bearer())
    await house.access.tokens.verify(house.domain, minted.token)
    assert (await refusal(house.access.tokens, other, minted.token)).startswith("signature")


async def test_all_instances_agree_on_the_first_key(house: House) -> None:
    several = [SigningKeys(house.access.database, house.access.sealer, house.access.clock) for _ in range(8)]
    rings = await asyncio.gather(*(keys.ring(house.domain) for keys in several))
    assert len({ring.signer.kid for ring in rings}) == 1
    assert all(len(ring.public["keys"]) == 1 for ring in rings)


async def test_a_retired_key_verifies_until_its_tokens_are_over(house: House) -> None:
    access = house.access
    other = second_instance(access)
    old = await access.tokens.mint(house.domain, bearer())
    await other.verify(house.domain, old.token)
    await access.keys.rotate(house.domain, timedelta(0))
    new = await access.tokens.mint(house.domain, bearer())
    ring = await access.keys.ring(house.domain)
    assert len(ring.public["keys"]) == 2
    await access.tokens.verify(house.domain, old.token)
    access.clock.advance(seconds=6)
    await other.verify(house.domain, new.token)
    async with access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.signing_key set retired_at = now() - interval '1 hour' where retired_at is not null"
        )
    access.clock.advance(seconds=61)
    assert len((await access.keys.ring(house.domain)).public["keys"]) == 1
    assert (await refusal(second_instance(access), house, old.token)).startswith("signature")


async def test_forged_key_ids_do_not_cost_a_query_each(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    access = house.access
    minted = await access.tokens.mint(house.domain, bearer())
    reads = 0
    fetch = access.database.fetch

    async def counting(query: str, *args: object, idempotent: bool | None = None) -> object:
        nonlocal reads
        reads += 1
        return await fetch(query, *args, idempotent=idempotent)

    monkeypatch.setattr(access.database, "fetch", counting)
    for _ in range(20):
        await refusal(access.tokens, house, minted.token[:-6] + "AAAAAA")
    assert reads == 0


async def test_the_private_key_lies_sealed_and_opens_in_its_own_row_only(house: House) -> None:
    access = house.access
    other = await furnish(access)
    await access.keys.ring(house.domain)
    await access.keys.ring(other.domain)
    async with access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        stored = await connection.fetchval("select private_key from troth.signing_key")
        assert b"PRIVATE KEY" not in stored
        await connection.execute("select set_config('troth.tenant', $1, true)", str(other.tenant.id))
        await connection.execute("update troth.signing_key set private_key = $1", stored)
    fresh = SigningKeys(access.database, access.sealer, access.clock)
    with pytest.raises(Exception, match=r".+"):
        await fresh.ring(other.domain)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Token x", "bearerx y", "Digest Bearer x"]
)
async def test_without_a_bearer_token_nothing_is_said_about_one(house: House, header: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await house.access.authenticator.authenticate(house.domain.name, header)
    assert caught.value.error == ""


async def test_an_unknown_domain_knows_no_token(house: House) -> None:
    minted = await house.access.tokens.mint(house.domain, bearer())
    with pytest.raises(Unauthenticated):
        await house.access.authenticator.authenticate("unknown.example", f"Bearer {minted.token}")
