"""Signing keys follow one another: published before they sign, verified after they have."""

import asyncio
from datetime import timedelta

from support.access import Access, House
from troth.access.signing import SigningKeys


def instance(access: Access) -> SigningKeys:
    """Another instance of the web service, which remembers nothing."""
    return SigningKeys(access.database, access.sealer, access.clock)


async def age(house: House, span: timedelta) -> None:
    """As if every key were so much older."""
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.signing_key set signs_from = signs_from - $1::interval,"
            " retired_at = retired_at - $1::interval",
            span,
        )


async def test_a_new_key_is_published_before_it_signs(access: Access, house: House) -> None:
    old = (await access.keys.ring(house.domain)).signer.kid
    await access.keys.rotate(house.domain)
    ring = await access.keys.ring(house.domain)
    assert ring.signer.kid == old
    published = [key["kid"] for key in ring.public["keys"]]
    assert len(published) == 2
    assert published[1] == old
    await age(house, timedelta(minutes=11))
    after = await instance(access).ring(house.domain)
    assert after.signer.kid == published[0]
    assert [key["kid"] for key in after.public["keys"]] == published
    await age(house, timedelta(minutes=15))
    assert len((await instance(access).ring(house.domain)).public["keys"]) == 1


async def test_after_a_month_one_of_many_instances_makes_the_next_key(access: Access, house: House) -> None:
    first = (await access.keys.ring(house.domain)).signer.kid
    await age(house, timedelta(days=31))
    rings = await asyncio.gather(*(instance(access).ring(house.domain) for _ in range(8)))
    assert {ring.signer.kid for ring in rings} == {first}
    last = await instance(access).ring(house.domain)
    assert len(last.public["keys"]) == 2
    assert (await access.events(house.domain.name)).count("signing_key.rotated") == 1


async def test_an_instance_looks_again_when_the_next_key_begins_to_sign(access: Access, house: House) -> None:
    old = (await access.keys.ring(house.domain)).signer.kid
    await access.keys.rotate(house.domain, timedelta(seconds=5))
    keys = instance(access)
    assert (await keys.ring(house.domain)).signer.kid == old
    await age(house, timedelta(seconds=6))
    access.clock.advance(seconds=6)
    assert (await keys.ring(house.domain)).signer.kid != old


async def test_two_rotations_in_a_row_leave_a_key_that_signs(access: Access, house: House) -> None:
    old = (await access.keys.ring(house.domain)).signer.kid
    await access.keys.rotate(house.domain)
    await access.keys.rotate(house.domain)
    states = [key.state for key in await access.keys.states(house.domain)]
    assert states == ["next", "next", "signs"]
    await age(house, timedelta(minutes=11))
    second = (await instance(access).ring(house.domain)).signer.kid
    await age(house, timedelta(minutes=11))
    third = (await instance(access).ring(house.domain)).signer.kid
    assert len({old, second, third}) == 3
