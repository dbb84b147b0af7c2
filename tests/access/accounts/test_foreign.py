"""Hashes of other systems: read, wrapped, verified, and refused when they ask for too much."""

import base64
import hashlib
from contextlib import suppress

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.accounts.foreign import read_foreign
from troth.access.accounts.passwords import Passwords, needs_upgrade, parse_password_hash
from troth.access.accounts.recipes import Recipe, read_recipe
from troth.access.errors import WrongPassword

SALT = b"seasalt and more"
SECRET = "pässwörd 1"


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _pbkdf2(name: str, size: int | None = None) -> bytes:
    return hashlib.pbkdf2_hmac(name, SECRET.encode(), SALT, 1000, size)


def _scrypt(size: int) -> bytes:
    return hashlib.scrypt(SECRET.encode(), salt=SALT, n=1024, r=8, p=1, dklen=size)


def _aspnet(function: int, name: str) -> str:
    head = b"\x01" + function.to_bytes(4, "big") + (1000).to_bytes(4, "big") + len(SALT).to_bytes(4, "big")
    return _b64(head + SALT + _pbkdf2(name, 32))


HEX_DIGEST = hashlib.sha256(SECRET.encode()).hexdigest().encode()

EXPORTED = {
    "django pbkdf2": f"pbkdf2_sha256$1000${SALT.decode()}${_b64(_pbkdf2('sha256'))}",
    "django pbkdf2 sha1": f"pbkdf2_sha1$1000${SALT.decode()}${_b64(_pbkdf2('sha1'))}",
    "django scrypt": f"scrypt$1024${SALT.decode()}$8$1${_b64(_scrypt(64))}",
    "django bcrypt": f"bcrypt${bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()}",
    "django bcrypt sha256": f"bcrypt_sha256${bcrypt.hashpw(HEX_DIGEST, bcrypt.gensalt(4)).decode()}",
    "passlib sha512": f"$pbkdf2-sha512$1000${_b64(SALT).rstrip('=').replace('+', '.')}$"
    + _b64(_pbkdf2("sha512")).rstrip("=").replace("+", "."),
    "passlib sha1": f"$pbkdf2$1000${_b64(SALT).rstrip('=')}$"
    + _b64(_pbkdf2("sha1")).rstrip("=").replace("+", "."),
    "werkzeug pbkdf2": f"pbkdf2:sha256:1000${SALT.decode()}${_pbkdf2('sha256').hex()}",
    "werkzeug scrypt": f"scrypt:1024:8:1${SALT.decode()}${_scrypt(64).hex()}",
    "aspnet sha256": _aspnet(1, "sha256"),
    "aspnet sha512": _aspnet(2, "sha512"),
    "bcrypt 2y": bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "ldap": "{SSHA256}" + _b64(hashlib.sha256(SECRET.encode() + SALT).digest() + SALT),
}

PUBLISHED = {
    # The test vectors of the argon2 reference implementation.
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "password",
    "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA": "password",
    # Of crypt_blowfish.
    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
    # Of passlib's manual.
    "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E": "password",
}


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(threads=2, rounds=1000)


async def _opens(passwords: Passwords, stored: str, password: str) -> None:
    await passwords.verify(password, stored)
    for wrong in (password + "x", "", password[1:]):
        with pytest.raises(WrongPassword):
            await passwords.verify(wrong, stored)


@pytest.mark.parametrize("kind", EXPORTED)
async def test_a_hash_of_another_system_opens_for_its_password(kind: str, passwords: Passwords) -> None:
    await _opens(passwords, await passwords.wrap(read_foreign(EXPORTED[kind])), SECRET)


@pytest.mark.parametrize("exported", PUBLISHED)
async def test_published_vectors_are_computed_alike(exported: str, passwords: Passwords) -> None:
    await _opens(passwords, await passwords.wrap(read_foreign(exported)), PUBLISHED[exported])


@pytest.mark.parametrize("scheme", ["sha256-salt-first", "sha256-salt-last"])
@pytest.mark.parametrize("written", ["hex", "base64"])
@pytest.mark.parametrize("encoding", ["text", "hex", "base64"])
async def test_bare_sha256_in_both_orders(
    scheme: str, written: str, encoding: str, passwords: Passwords
) -> None:
    salted = SALT + SECRET.encode() if scheme == "sha256-salt-first" else SECRET.encode() + SALT
    digest = hashlib.sha256(salted).digest()
    text = digest.hex().upper() if written == "hex" else _b64(digest)
    salt = {"text": SALT.decode(), "hex": SALT.hex(), "base64": _b64(SALT)}[encoding]
    await _opens(passwords, await passwords.wrap(read_foreign(text, scheme, salt, encoding)), SECRET)


@pytest.mark.parametrize(
    "exported",
    [*EXPORTED.values(), *PUBLISHED],
    ids=[*EXPORTED, *(f"published-{n}" for n in range(len(PUBLISHED)))],
)
async def test_nothing_of_an_imported_hash_is_stored_as_it_came(exported: str, passwords: Passwords) -> None:
    foreign = read_foreign(exported)
    stored = await passwords.wrap(foreign)
    parsed = parse_password_hash(stored)
    assert stored.startswith("pbkdf2-sha256$1000$")
    assert parsed.wraps == foreign.recipe
    assert parse_password_hash(str(parsed)) == parsed
    assert parsed.hash != foreign.digest
    assert foreign.digest not in base64.b64decode(stored.rpartition("$")[2] + "=", altchars=b"-_")
    assert needs_upgrade(stored)


@pytest.mark.parametrize(
    "hostile",
    [
        f"pbkdf2_sha256$1000000000$salt${_b64(bytes(32))}",
        f"pbkdf2_sha256$99999999999999999999$salt${_b64(bytes(32))}",
        f"pbkdf2_sha256$0$salt${_b64(bytes(32))}",
        f"pbkdf2_md5$1000$salt${_b64(bytes(32))}",
        f"pbkdf2_sha256$1000$${_b64(bytes(32))}",
        f"pbkdf2_sha256$1000$salt${_b64(bytes(4))}",
        f"pbkdf2_sha256$1000$salt${_b64(bytes(600))}",
        "pbkdf2_sha256$1000$salt$!!!",
        "pbkdf2_sha256$1000$salt",
        f"scrypt:1099511627776:8:1$salt${bytes(64).hex()}",
        f"scrypt:1048576:64:16$salt${bytes(64).hex()}",
        f"scrypt:1000:8:1$salt${bytes(64).hex()}",
        f"$scrypt$ln=60,r=8,p=1$c2FsdA${_b64(bytes(32))}",
        f"$argon2id$v=19$m=999999999,t=1,p=1$c29tZXNhbHQ${_b64(bytes(32))}",
        f"$argon2id$v=19$m=65536,t=999999,p=1$c29tZXNhbHQ${_b64(bytes(32))}",
        f"$argon2id$v=19$m=4,t=1,p=1$c29tZXNhbHQ${_b64(bytes(32))}",
        f"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ${_b64(bytes(32))}",
        f"$argon2x$v=19$m=65536,t=2,p=1$c29tZXNhbHQ${_b64(bytes(32))}",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$05$CCCC",
        "{SSHA256}" + _b64(bytes(32)),
        "AQAAAAEAACcQ",
        "md5$abc$def",
        "plain text",
        "",
        "x" * 5000,
        "pässword",
    ],
)
def test_damaged_and_hostile_hashes_are_refused_with_a_reason(hostile: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        read_foreign(hostile)


@pytest.mark.parametrize("scheme", ["sha256", "md5", "sha256-salt-first "])
def test_a_bare_hash_needs_to_say_in_what_order_it_took_its_salt(scheme: str) -> None:
    with pytest.raises(ValueError, match="sha256-salt-first or sha256-salt-last"):
        read_foreign("0" * 64, scheme, "salt")


@pytest.mark.parametrize("salt", ["", "x" * 129])
def test_a_bare_hash_needs_a_salt_of_sound_length(salt: str) -> None:
    with pytest.raises(ValueError, match="salt"):
        read_foreign("0" * 64, "sha256-salt-first", salt)


async def test_a_stored_recipe_that_was_tampered_with_orders_no_endless_work(passwords: Passwords) -> None:
    stored = await passwords.wrap(read_foreign(EXPORTED["django scrypt"]))
    for evil in ("scrypt:1073741824,64,16,64:c2FsdA", "bcrypt:31:CCCC", "sha256-salt-first::", "eval::x"):
        scheme, rounds, salt, _, digest = stored.split("$")
        with pytest.raises(WrongPassword):
            await passwords.verify(SECRET, "$".join((scheme, rounds, salt, evil, digest)))


@given(st.text(), st.sampled_from(["", "$2b$", "$argon2id$", "pbkdf2_sha256$", "scrypt:", "{SSHA256}", "AQ"]))
def test_whatever_is_exported_reading_it_ends_well_or_in_value_error(text: str, start: str) -> None:
    with suppress(ValueError):
        read_foreign(start + text)


@given(
    st.from_regex(
        r"(pbkdf2_sha256\$\d{1,12}\$\w{0,9}\$[\w+/]{0,90}=*)|(\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$\w*\$\w*)"
    )
)
def test_what_is_read_is_always_within_the_limits(text: str) -> None:
    try:
        recipe = read_foreign(text).recipe
    except ValueError:
        return
    assert read_recipe(str(recipe)) == recipe


@given(st.text(max_size=80))
def test_reading_a_recipe_ends_well_or_in_value_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(read_recipe(text), Recipe)
