"""Passwords: the stored form, equal work, bounded work."""

import asyncio
import hashlib
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from hypothesis import given
from hypothesis import strategies as st

from troth.access.accounts.passwords import (
    PasswordHash,
    Passwords,
    needs_upgrade,
    new_password,
    parse_password_hash,
)
from troth.access.errors import WrongPassword
from troth.core.errors import TooMany

FEW = 1000


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(threads=2, waiting=2, rounds=FEW)


async def test_the_stored_form_names_scheme_rounds_salt_and_hash() -> None:
    stored = await Passwords().hash("correct horse")
    scheme, rounds, salt, digest = stored.split("$")
    assert (scheme, rounds) == ("pbkdf2-sha256", "600000")
    assert (len(salt), len(digest)) == (22, 43)
    assert not needs_upgrade(stored)


async def test_another_implementation_computes_the_same_hash(passwords: Passwords) -> None:
    parsed = parse_password_hash(await passwords.hash("pässwörd"))
    assert hashlib.pbkdf2_hmac("sha256", "pässwörd".encode(), parsed.salt, FEW) == parsed.hash


async def test_a_salt_is_never_used_twice(passwords: Passwords) -> None:
    stored = [await passwords.hash("the same") for _ in range(20)]
    assert len({parse_password_hash(one).salt for one in stored}) == 20


async def test_the_right_password_fits_and_no_other(passwords: Passwords) -> None:
    stored = await passwords.hash("right")
    await passwords.verify("right", stored)
    for wrong in ("Right", "right ", "", "righ", "x" * 10_000, "\0", "\ud800"):
        with pytest.raises(WrongPassword):
            await passwords.verify(wrong, stored)


async def test_two_spellings_of_one_character_are_one_password(passwords: Passwords) -> None:
    stored = await passwords.hash("pa\u0308ss")
    await passwords.verify("p\u00e4ss", stored)


async def test_nobody_signs_in_as_an_unknown_user_or_with_a_damaged_row(passwords: Passwords) -> None:
    for stored in (None, "", "plain", "pbkdf2-sha256$1000$$", "bcrypt$12$a$b"):
        with pytest.raises(WrongPassword):
            await passwords.verify("", stored)


async def test_an_unknown_user_costs_as_much_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(threads=1, rounds=FEW)
    stored = await passwords.hash("right")
    work: list[tuple[str, int]] = []
    derived = PBKDF2HMAC.derive

    class Counted:
        def __init__(self, algorithm: hashes.HashAlgorithm, length: int, salt: bytes, rounds: int) -> None:
            work.append((algorithm.name, rounds))
            self._kdf = PBKDF2HMAC(algorithm, length, salt, rounds)

        def derive(self, secret: bytes) -> bytes:
            return derived(self._kdf, secret)

    monkeypatch.setattr("troth.access.accounts.passwords.PBKDF2HMAC", Counted)
    for record, nobody in ((stored, False), (stored, True), (None, True), ("damaged", False)):
        with pytest.raises(WrongPassword):
            await passwords.verify("wrong", record, nobody=nobody)
    assert work == [("sha256", FEW)] * 4


async def test_nobodys_password_is_never_right(passwords: Passwords) -> None:
    with pytest.raises(WrongPassword):
        await passwords.verify("right", await passwords.hash("right"), nobody=True)


async def test_a_weaker_hash_asks_for_an_upgrade() -> None:
    assert needs_upgrade(await Passwords(rounds=FEW).hash("x"))
    assert needs_upgrade(str(PasswordHash(600_000, os.urandom(8), os.urandom(32))))


async def test_a_flood_waits_for_itself_and_the_rest_is_refused_at_once() -> None:
    passwords = Passwords(threads=1, waiting=2, rounds=300_000)
    answers = await asyncio.gather(*(passwords.hash("x") for _ in range(10)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, TooMany)]
    assert len(refused) == 7
    assert all(error.retry_after > 0 for error in refused)
    await passwords.hash("there is room again")


async def test_a_caller_who_hangs_up_makes_no_room_before_the_work_is_done() -> None:
    passwords = Passwords(threads=1, waiting=0, rounds=1_000_000)
    task = asyncio.create_task(passwords.hash("x"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(TooMany):
        await passwords.hash("y")
    with pytest.raises(asyncio.CancelledError):
        await task


@given(st.text())
def test_whatever_is_stored_reading_it_ends_well_or_in_value_error(text: str) -> None:
    try:
        parsed = parse_password_hash(f"pbkdf2-sha256${text}")
    except ValueError:
        return
    assert parse_password_hash(str(parsed)) == parsed


def test_a_damaged_row_cannot_order_endless_work() -> None:
    with pytest.raises(ValueError, match="range"):
        parse_password_hash(str(PasswordHash(10**9, os.urandom(16), os.urandom(32))))


def test_new_passwords_are_random_and_readable() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(one) == 27 and not set("01ilo") & set(one) for one in made)
