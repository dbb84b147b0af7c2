"""People with a second factor."""

import base64

from support.access import EMAIL, PASSWORD, House
from troth.access.factors import totp
from troth.access.factors.pending import FactorNeeded


def key_in(shown: str) -> bytes:
    """The key, as an app reads it from what a person typed."""
    return base64.b32decode(shown.replace(" ", ""))


def code_of(house: House, key: bytes) -> str:
    """What the app shows now."""
    return totp.code_at(key, totp.step_at(house.access.clock.now()))


async def add_app(house: House) -> bytes:
    """Set an authenticator app up; its codes fit again at the next step."""
    setup = await house.access.apps.prepare(house.domain, house.person, EMAIL)
    key = key_in(setup.key)
    await house.access.apps.confirm(house.domain, house.person, setup.sealed, code_of(house, key))
    house.access.clock.advance(seconds=2 * totp.STEP)
    return key


async def half_signed_in(house: House, *, device: str = "") -> str:
    """The token of a sign-in whose password fitted."""
    needed = await house.access.sign_in.sign_in(house.domain, EMAIL, PASSWORD, device=device)
    assert isinstance(needed, FactorNeeded)
    return needed.token


async def require_factor(house: House) -> None:
    """Nobody signs in with the password alone from now on."""
    await set_factor_policy(house, "required")


async def set_factor_policy(house: House, policy: str) -> None:
    """The tenant's policy from now on: off, optional or required."""
    async with house.access.owner.transaction() as connection:
        await connection.execute(
            "update troth.tenant set policy = policy || jsonb_build_object('second_factor', $2::text)"
            " where id = $1",
            house.tenant.id,
            policy,
        )
