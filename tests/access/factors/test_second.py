"""Between password and session: what opens nothing, what finishes it, and what can be had once only."""

import asyncio
import base64

import pytest

from support.access import EMAIL, PASSWORD, House, furnish
from support.factors import add_app, code_of, half_signed_in, key_in, require_factor
from troth.access.errors import FactorRefused, NoSession, TooManyTries
from troth.access.factors import totp
from troth.access.factors.pending import LIFETIME, MOST_GUESSES
from troth.access.factors.second import Origin
from troth.access.sessions import TWO_FACTORS, Begun

HERE = Origin()


async def test_a_code_of_the_app_finishes_the_sign_in(house: House) -> None:
    key = await add_app(house)
    token = await half_signed_in(house)
    begun = await house.access.second_factor.by_app(house.domain, token, code_of(house, key), HERE)
    assert begun.session.amr == ("pwd", "otp")
    assert begun.session.acr == TWO_FACTORS


async def test_a_pending_sign_in_opens_nothing(house: House) -> None:
    await add_app(house)
    token = await half_signed_in(house)
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, token)
    events = await house.access.events(house.domain.name)
    assert "sign_in.half" in events
    assert "session.begun" not in events


async def test_a_pending_sign_in_is_finished_once(house: House) -> None:
    key = await add_app(house)
    token = await half_signed_in(house)
    await house.access.second_factor.by_app(house.domain, token, code_of(house, key), HERE)
    house.access.clock.advance(seconds=60)
    with pytest.raises(NoSession):
        await house.access.second_factor.by_app(house.domain, token, code_of(house, key), HERE)


async def test_a_code_opens_one_session_however_many_ask_at_once(house: House) -> None:
    key = await add_app(house)
    tokens = [await half_signed_in(house) for _ in range(4)]
    code = code_of(house, key)
    second = house.access.second_factor
    got = await asyncio.gather(
        *(second.by_app(house.domain, token, code, HERE) for token in tokens), return_exceptions=True
    )
    assert sum(isinstance(one, Begun) for one in got) == 1
    assert sum(isinstance(one, FactorRefused) for one in got) == 3


async def test_a_pending_sign_in_of_another_domain_is_unknown(house: House) -> None:
    key = await add_app(house)
    other = await furnish(house.access)
    token = await half_signed_in(house)
    with pytest.raises(NoSession):
        await house.access.second_factor.by_app(other.domain, token, code_of(house, key), HERE)


async def test_a_new_password_ends_what_the_old_one_half_opened(house: House) -> None:
    key = await add_app(house)
    token = await half_signed_in(house)
    access = house.access
    await access.registrar.set_password(house.tenant.id, house.person, "another one", access.passwords)
    with pytest.raises(NoSession):
        await access.second_factor.by_app(house.domain, token, code_of(house, key), HERE)


async def test_an_old_pending_sign_in_is_over(house: House) -> None:
    key = await add_app(house)
    token = await half_signed_in(house)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.pending_sign_in set expires_at = expires_at - $1::interval", LIFETIME
        )
    with pytest.raises(NoSession):
        await house.access.second_factor.by_app(house.domain, token, code_of(house, key), HERE)


async def test_guessing_ends_the_sign_in_before_it_gets_anywhere(house: House) -> None:
    key = await add_app(house)
    token = await half_signed_in(house)
    wrong = str((int(code_of(house, key)) + 1) % 10**totp.DIGITS).zfill(totp.DIGITS)
    refused = [await outcome(house, token, wrong) for _ in range(MOST_GUESSES)]
    assert refused == ["refused"] * MOST_GUESSES
    assert await outcome(house, token, code_of(house, key)) == "wait"
    # Another half sign-in does not bring fresh guesses: the person's budget is spent.
    assert await outcome(house, await half_signed_in(house), code_of(house, key)) == "wait"
    assert (await house.access.events(house.domain.name)).count("factor.failed") == MOST_GUESSES


async def test_a_browser_that_was_signed_in_before_is_not_kept_out_by_a_guesser(house: House) -> None:
    key = await add_app(house)
    token = await half_signed_in(house)
    for _ in range(MOST_GUESSES):
        await outcome(house, token, "000000")
    device = await house.access.devices.issue(house.domain, EMAIL)
    own = await half_signed_in(house, device=device)
    assert await outcome(house, own, code_of(house, key)) == "begun"


async def outcome(house: House, token: str, code: str) -> str:
    try:
        await house.access.second_factor.by_app(house.domain, token, code, HERE)
    except FactorRefused:
        return "refused"
    except TooManyTries:
        return "wait"
    except NoSession:
        return "over"
    return "begun"


async def test_a_recovery_code_is_good_once(house: House) -> None:
    await add_app(house)
    access = house.access
    codes = await access.recovery_codes.renew(house.domain, house.person)
    assert len(set(codes)) == 10
    assert {len(base64.b32decode(code.replace("-", ""))) for code in codes} == {15}
    token = await half_signed_in(house)
    typed = codes[0].lower().replace("-", " ")
    begun = await access.second_factor.by_recovery_code(house.domain, token, typed, HERE)
    assert begun.session.amr == ("pwd", "otp", "recovery")
    with pytest.raises(FactorRefused):
        await access.second_factor.by_recovery_code(house.domain, await half_signed_in(house), codes[0], HERE)
    assert (await access.factors.show(house.domain, house.person)).codes == 9


async def test_new_recovery_codes_take_the_place_of_the_old_ones(house: House) -> None:
    await add_app(house)
    access = house.access
    old = await access.recovery_codes.renew(house.domain, house.person)
    await access.recovery_codes.renew(house.domain, house.person)
    with pytest.raises(FactorRefused):
        await access.recovery_codes.accept(house.domain, house.person, old[0])


async def test_a_recovery_code_of_somebody_else_is_refused(house: House) -> None:
    other = await furnish(house.access)
    codes = await other.access.recovery_codes.renew(other.domain, other.person)
    with pytest.raises(FactorRefused):
        await house.access.recovery_codes.accept(house.domain, house.person, codes[0])
    assert (await house.access.factors.show(other.domain, other.person)).codes == 10


async def test_where_a_factor_is_required_one_is_set_up_before_the_session(house: House) -> None:
    await require_factor(house)
    access = house.access
    needed = await access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)
    assert not isinstance(needed, Begun)
    assert needed.enrols
    setup = await access.apps.prepare(house.domain, house.person, EMAIL)
    key = key_in(setup.key)
    begun = await access.second_factor.by_new_app(
        house.domain, needed.token, setup.sealed, code_of(house, key), HERE
    )
    assert begun.session.acr == TWO_FACTORS


async def test_who_has_a_factor_cannot_add_another_with_the_password_alone(house: House) -> None:
    await add_app(house)
    token = await half_signed_in(house)
    setup = await house.access.apps.prepare(house.domain, house.person, EMAIL)
    with pytest.raises(NoSession):
        await house.access.second_factor.by_new_app(
            house.domain, token, setup.sealed, code_of(house, key_in(setup.key)), HERE
        )


async def test_a_setup_of_somebody_else_or_an_old_one_sets_nothing_up(house: House) -> None:
    other = await furnish(house.access)
    access = house.access
    theirs = await access.apps.prepare(other.domain, other.person, EMAIL)
    with pytest.raises(FactorRefused):
        await access.apps.confirm(
            house.domain, house.person, theirs.sealed, code_of(house, key_in(theirs.key))
        )
    old = await access.apps.prepare(house.domain, house.person, EMAIL)
    access.clock.advance(minutes=16)
    with pytest.raises(FactorRefused):
        await access.apps.confirm(house.domain, house.person, old.sealed, code_of(house, key_in(old.key)))


async def test_a_reset_leaves_no_factor_and_ends_every_session(house: House) -> None:
    await add_app(house)
    access = house.access
    begun = await house.begin()
    await access.recovery_codes.renew(house.domain, house.person)
    assert await type(access.factors)(access.owner).reset(house.tenant.id, house.person)
    assert not (await access.factors.show(house.domain, house.person)).any
    with pytest.raises(NoSession):
        await access.sessions.open(house.domain, begun.token)
    assert isinstance(await access.sign_in.sign_in(house.domain, EMAIL, PASSWORD), Begun)
