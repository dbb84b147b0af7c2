"""Passkeys: a device's answer fits one domain, one person and one challenge, or nothing."""

import asyncio
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.access import EMAIL, NAME, House, furnish
from support.authenticator import (
    BACKED_UP,
    BACKUP_ELIGIBLE,
    USER_PRESENT,
    Authenticator,
    raw,
    text,
)
from support.factors import half_signed_in
from troth.access.accounts.people import Profile
from troth.access.errors import FactorNotChanged, FactorRefused
from troth.access.factors.passkeys import MAX_ANSWER, SECOND, SIGN_IN, STEP_UP, clean_name
from troth.access.factors.second import Origin
from troth.access.sessions import TWO_FACTORS, token_hash

SUBJECT = b"a session"


def device(house: House) -> Authenticator:
    return Authenticator(house.domain.issuer, house.domain.name)


async def invited(house: House) -> str:
    return await house.access.passkeys.invite(house.domain, house.person, Profile(EMAIL, NAME), SUBJECT)


async def register(house: House, key: Authenticator, **changed: object) -> tuple[str, ...]:
    answer = key.create(await invited(house), **changed)
    return await house.access.passkeys.add(house.domain, house.person, SUBJECT, answer, "Laptop")


async def asked(house: House, purpose: str = SIGN_IN) -> str:
    return await house.access.passkeys.ask(house.domain, purpose)


@pytest.fixture
async def key(house: House) -> Authenticator:
    made = device(house)
    await register(house, made)
    return made


async def test_a_passkey_proves_who_its_person_is(house: House, key: Authenticator) -> None:
    proof = await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)))
    assert proof.person == house.person
    assert proof.amr == ("hwk", "user")


async def test_a_passkey_that_is_synchronised_is_said_to_be_kept_by_software(house: House) -> None:
    made = device(house)
    made.flags |= BACKUP_ELIGIBLE | BACKED_UP
    assert await register(house, made) == ("swk", "user")
    [shown] = (await house.access.factors.show(house.domain, house.person)).passkeys
    assert shown.backed_up


async def test_a_passkey_is_a_second_factor_too(house: House, key: Authenticator) -> None:
    token = await half_signed_in(house)
    options = await house.access.passkeys.ask(house.domain, SECOND, token_hash(token))
    begun = await house.access.second_factor.by_passkey(house.domain, token, key.get(options), Origin())
    assert begun.session.amr == ("pwd", "hwk", "user")
    assert begun.session.acr == TWO_FACTORS


@pytest.mark.parametrize(
    "changed",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://lindenhof.example:1"},
        {"crossOrigin": True},
        {"type": "webauthn.create"},
        {"challenge": text(b"chosen by somebody else" * 3)},
        {"challenge": ""},
        {"challenge": 7},
    ],
)
async def test_an_answer_given_elsewhere_or_to_something_else_is_refused(
    house: House, key: Authenticator, changed: dict[str, object]
) -> None:
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house), **changed))


async def test_an_answer_for_another_relying_party_is_refused(house: House, key: Authenticator) -> None:
    key.rp_id = "example"
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)))


@pytest.mark.parametrize("flags", [0, USER_PRESENT, USER_PRESENT | 4 | BACKUP_ELIGIBLE])
async def test_a_device_that_did_not_verify_its_user_or_changed_its_nature_is_refused(
    house: House, key: Authenticator, flags: int
) -> None:
    key.flags = flags
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)))


async def test_a_signature_by_another_key_is_refused(house: House, key: Authenticator) -> None:
    key.key = device(house).key
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)))


async def test_an_answer_opens_once_however_often_it_is_sent(house: House, key: Authenticator) -> None:
    answer = key.get(await asked(house))
    prove = house.access.passkeys.prove
    got = await asyncio.gather(
        *(prove(house.domain, SIGN_IN, answer) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, FactorRefused) for one in got) == 4


async def test_a_passkey_without_a_counter_is_not_replayed(house: House, key: Authenticator) -> None:
    options = await asked(house)
    key.count = -1
    answer = key.get(options)
    await house.access.passkeys.prove(house.domain, SIGN_IN, answer)
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, answer)


async def test_a_counter_that_goes_back_gives_a_copied_key_away(house: House, key: Authenticator) -> None:
    key.count = 7
    await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)))
    key.count = 3
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)))
    assert "factor.failed" in await house.access.events(house.domain.name)


async def test_an_old_challenge_is_refused(house: House, key: Authenticator) -> None:
    options = await asked(house)
    house.access.clock.advance(minutes=11)
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(options))


async def test_a_challenge_for_one_purpose_or_subject_is_none_for_another(
    house: House, key: Authenticator
) -> None:
    prove, ask = house.access.passkeys.prove, house.access.passkeys.ask
    with pytest.raises(FactorRefused):
        await prove(house.domain, STEP_UP, key.get(await asked(house)), subject=b"")
    with pytest.raises(FactorRefused):
        options = await ask(house.domain, SECOND, b"one")
        await prove(house.domain, SECOND, key.get(options), subject=b"another")


async def test_a_passkey_of_another_person_is_refused(house: House, key: Authenticator) -> None:
    other = await house.access.registrar.add(house.tenant.id, Profile("b@example.org", "B"), (), None)
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, key.get(await asked(house)), person=other)


async def test_a_passkey_of_another_domain_is_unknown(house: House, key: Authenticator) -> None:
    other = await furnish(house.access)
    options = await house.access.passkeys.ask(other.domain, SIGN_IN)
    for origin, rp_id in ((key.origin, key.rp_id), (other.domain.issuer, other.domain.name)):
        key.origin, key.rp_id = origin, rp_id
        with pytest.raises(FactorRefused):
            await house.access.passkeys.prove(other.domain, SIGN_IN, key.get(options))


async def test_a_passkey_is_registered_once_for_one_person(house: House, key: Authenticator) -> None:
    with pytest.raises(FactorNotChanged):
        await register(house, key)


async def test_an_answer_registers_once(house: House) -> None:
    made, options = device(house), await invited(house)
    answer = made.create(options)
    add = house.access.passkeys.add
    await add(house.domain, house.person, SUBJECT, answer, "")
    with pytest.raises(FactorRefused):
        await add(house.domain, house.person, SUBJECT, answer, "")


async def test_a_registration_in_another_session_or_on_another_origin_is_refused(house: House) -> None:
    made, add = device(house), house.access.passkeys.add
    with pytest.raises(FactorRefused):
        await add(house.domain, house.person, b"another", made.create(await invited(house)), "")
    with pytest.raises(FactorRefused):
        await register(house, made, origin="https://evil.example")
    made.flags = USER_PRESENT
    with pytest.raises(FactorRefused):
        await register(house, made)
    assert not (await house.access.factors.show(house.domain, house.person)).passkeys


async def test_options_ask_for_a_verified_user_and_name_nobodys_passkeys(
    house: House, key: Authenticator
) -> None:
    options = json.loads(await asked(house))
    assert options["userVerification"] == "required"
    assert options["rpId"] == house.domain.name
    assert options["allowCredentials"] == []
    create = json.loads(await invited(house))
    assert create["attestation"] == "none"
    assert raw(create["user"]["id"]) == house.person.bytes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(answer=st.text(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
async def test_no_answer_does_more_than_be_refused(house: House, answer: str) -> None:
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, answer)
    with pytest.raises(FactorRefused):
        await house.access.passkeys.add(house.domain, house.person, SUBJECT, answer, "")


def is_nothing(handle: object) -> bool:
    """Without a letter of base64url it decodes to no bytes, and an authenticator may leave it out."""
    return not handle or (isinstance(handle, str) and not re.search(r"[A-Za-z0-9_+/-]", handle))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(data=st.data())
async def test_an_answer_with_one_part_broken_is_refused(
    house: House, key: Authenticator, data: st.DataObject
) -> None:
    answer = json.loads(key.get(await asked(house)))
    name = data.draw(st.sampled_from(sorted(answer["response"])))
    answer["response"][name] = data.draw(
        st.none() | st.integers() | st.text(max_size=40) | st.binary(max_size=80).map(text)
    )
    if name == "userHandle" and is_nothing(answer["response"][name]):
        return
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, json.dumps(answer))


@pytest.mark.parametrize("answer", ["[" * 20_000, "x" * (MAX_ANSWER + 1), '{"id": "\\ud800"}'])
async def test_a_monstrous_answer_is_refused(house: House, answer: str) -> None:
    with pytest.raises(FactorRefused):
        await house.access.passkeys.prove(house.domain, SIGN_IN, answer)


@pytest.mark.parametrize(
    ("typed", "kept"), [("  My\tkey\n", "My key"), ("", "Passkey"), ("x" * 99, "x" * 60), ("\0", "Passkey")]
)
def test_a_name_is_one_line(typed: str, kept: str) -> None:
    assert clean_name(typed) == kept
