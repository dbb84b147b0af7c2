"""Which passwords are accepted."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.accounts.policy import BreachedPasswords, PasswordPolicy
from troth.access.errors import PasswordNotAccepted

ABOUT = ("Anna Wéber", "anna.weber@lindenhof.example", "Lindenhof Hausverwaltung", "residents.localhost")


def reason(password: str, policy: PasswordPolicy | None = None) -> str:
    try:
        (policy or PasswordPolicy()).check(password, ABOUT)
    except PasswordNotAccepted as error:
        assert error.errors == (("/password", error.reason),)
        return error.reason
    return ""


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "mauve-otter-9",
        "zwölf Boxkämpfer",
        "パスワードは秘密です",
        "    a b c d    ",
        "x7" + "qkw!zeta" * 15,
        "lindenhofen regnet es quer",
        "🦦🦫🦨🦡🐿️🦔🦇🐁",
    ],
)
def test_eight_to_128_characters_of_any_kind_are_accepted(password: str) -> None:
    assert reason(password) == ""


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "too_short"),
        ("kurz 7!", "too_short"),
        ("ﬀﬀﬀ", "too_short"),
        ("vq" * 64 + "x", "too_long"),
        ("password", "common"),
        ("Password1!", "common"),
        ("P@ssw0rd", "common"),
        ("12345678", "common"),
        ("qwertyuiop", "common"),
        ("aaaaaaaaaaaa", "common"),
        ("dragondragon", "common"),
        ("sunshine2024", "common"),
        ("annaweber1", "personal"),
        ("Lindenhof2026!", "personal"),
        ("Weber-Lindenhof", "personal"),
        ("residents!1", "common"),
    ],
)
def test_what_an_attacker_tries_first_is_refused(password: str, why: str) -> None:
    assert reason(password) == why


def test_length_is_counted_in_characters_after_nfkc() -> None:
    assert reason("a\u0308" * 4 + "qxz1") == ""
    assert reason("ﬁ" * 3 + "q") == "too_short"
    assert reason("ﬁ" * 3 + "qz") != "too_short"


@pytest.fixture(scope="session")
def breached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("breached") / "sha1.txt"
    hashes = sorted(
        hashlib.sha1(f"breached {number}".encode(), usedforsecurity=False).hexdigest().upper()
        for number in range(2000)
    )
    file.write_text("".join(f"{one}:{index * 37}\r\n" for index, one in enumerate(hashes)))
    return file


def test_every_breached_password_is_found_where_it_lies(breached: Path) -> None:
    listed = BreachedPasswords(breached)
    assert all(listed.holds(f"breached {number}") for number in range(2000))
    assert not any(listed.holds(f"sound {number}") for number in range(2000))
    assert reason("breached 7", PasswordPolicy(listed)) == "breached"


def test_the_file_is_searched_in_a_few_short_reads(breached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    opened = Path.open

    class Counting:
        def __init__(self, file: Path) -> None:
            self._file = opened(file, "rb")

        def __enter__(self) -> "Counting":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def seek(self, offset: int, whence: int = 0) -> int:
            return self._file.seek(offset, whence)

        def readline(self, size: int) -> bytes:
            reads.append(size)
            return self._file.readline(size)

    def counting(file: Path, mode: str) -> Counting:
        assert mode == "rb"
        return Counting(file)

    monkeypatch.setattr(Path, "open", counting)
    assert BreachedPasswords(breached).holds("breached 1999")
    assert len(reads) < 45
    assert max(reads) <= 128


@pytest.mark.parametrize("content", ["", "\n", "junk", "F" * 40])
def test_an_empty_or_odd_file_holds_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "list"
    file.write_text(content)
    assert not BreachedPasswords(file).holds("breached 1")


@given(st.text(max_size=200))
def test_any_text_gets_a_verdict(password: str) -> None:
    assert reason(password) in {"", "too_short", "too_long", "common", "personal"}
