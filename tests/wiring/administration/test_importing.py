"""`troth import users`: files of any kind, a thousand people, every line that was not taken told."""

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import bcrypt
import msgspec
import pytest
from typer.testing import CliRunner

from support.access import EMAIL, House
from troth.access.accounts.registrar import Registrar
from troth.cli import administration
from troth.cli.importing import MOST_BYTES, MOST_ROWS
from troth.cli.verbs import app
from troth.core.errors import UsageError
from troth.core.import_file import MAX_LINE, Fault, Format, Record, read_people
from troth.wiring.administration.importing import Batch, import_batch

WORD = "mauve otters juggle"


def read(content: bytes, kind: Format = "csv") -> list[Record | Fault]:
    return list(read_people(io.BytesIO(content), kind))


def emails(found: list[Record | Fault]) -> list[str]:
    return [one.fields["email"] for one in found if isinstance(one, Record)]


@pytest.mark.parametrize(
    "content",
    [
        b"email,name\na@x.example,A\nb@x.example,B\n",
        b"\xef\xbb\xbfemail,name\r\na@x.example,A\r\nb@x.example,B",
        b"email;name\na@x.example;A\n\nb@x.example;B\n",
        b"email\tname\na@x.example\tA\nb@x.example\tB\n",
        b'"Email","name"\n"a@x.example","A\nA"\nb@x.example,"B ""b"""\n',
    ],
)
def test_csv_is_read_as_other_programs_write_it(content: bytes) -> None:
    assert emails(read(content)) == ["a@x.example", "b@x.example"]


def test_a_bad_line_is_told_and_the_next_one_is_read() -> None:
    bad = (b"b@x.example,B,more", b"\xff\xfe,B", b"x" * (MAX_LINE * 3), b'"open,B', b'c@x.example,"C" c')
    found = read(b"email,name\n" + b"\n".join(bad) + b"\nz@x.example,Z\n")
    assert [one.line for one in found if isinstance(one, Fault)] == [2, 3, 4, 5, 6]
    assert emails(found) == ["z@x.example"]


def test_a_mark_that_is_never_closed_does_not_swallow_the_file() -> None:
    rows = b"".join(b"p%d@x.example,P\n" % number for number in range(200))
    found = read(b'email,name\n"open,P\n' + rows)
    assert len(emails(found)) == 200


@pytest.mark.parametrize("head", [b"", b"name\n", b"email,password\n", b"email,email\n", b"\xff\xfee\0m\0"])
def test_a_file_of_other_columns_is_refused_as_a_whole(head: bytes) -> None:
    with pytest.raises(UsageError):
        read(head + b"a,b\n")


def test_ndjson_says_what_is_no_row() -> None:
    lines = [b'{"email":"a@x.example","roles":["a","b"],"email_verified":true,"name":null}', b"", b"[]",
             b'{"email":1}', b'{"email":"b@x.example","password":"x"}', b"{" * 9000]  # fmt: skip
    found = read(b"\r\n".join(lines), "ndjson")
    assert found[0] == Record(1, {"email": "a@x.example", "roles": "a b", "email_verified": "true"})
    assert [one.line for one in found[1:] if isinstance(one, Fault)] == [3, 4, 5, 6]


def row(number: int, **fields: str) -> dict[str, Any]:
    return {"line": number, "email": f"p{number}@lindenhof.example", "name": f"P {number}", **fields}


def mixed(number: int) -> dict[str, Any]:
    salt = f"salt{number}".encode()
    ssha = base64.b64encode(hashlib.sha256(WORD.encode() + salt).digest() + salt).decode()
    django = base64.b64encode(hashlib.pbkdf2_hmac("sha256", WORD.encode(), salt, 10)).decode()
    kinds: list[dict[str, str]] = [
        {"hash": "{SSHA256}" + ssha},
        {"hash": f"pbkdf2_sha256$10${salt.decode()}${django}"},
        {"hash": hashlib.sha256(salt + WORD.encode()).hexdigest(), "scheme": "sha256-salt-first",
         "salt": salt.decode()},
        {"hash": bcrypt.hashpw(WORD.encode(), b"$2b$04$" + b"a" * 21 + b"u").decode()},
        {},
    ]  # fmt: skip
    return row(number, roles="resident", **kinds[number % 5])


async def take(house: House, rows: list[dict[str, Any]], *, dry_run: bool = False) -> dict[str, Any]:
    registrar = Registrar(house.access.owner, house.access.sealer)
    batch = msgspec.convert({"tenant": "", "rows": rows, "dry_run": dry_run}, Batch)
    return await import_batch(registrar, house.tenant.id, batch, rounds=1)


async def test_a_thousand_people_come_with_their_passwords_once(house: House) -> None:
    people = [mixed(number) for number in range(1000)]
    batches = [people[start : start + 100] for start in range(0, 1000, 100)]
    assert (await take(house, batches[0], dry_run=True))["added"] == 100
    assert sum([(await take(house, batch))["added"] for batch in batches[:4]]) == 400  # interrupted here
    again = [await take(house, batch) for batch in batches]
    assert (sum(one["added"] for one in again), sum(one["present"] for one in again)) == (600, 400)
    for number in range(4):
        email = f"P{number}@Lindenhof.example"
        begun = await house.access.sign_in.sign_in(house.domain, email, WORD)
        assert begun.session.person_scopes  # type: ignore[union-attr]
        found = await house.access.accounts.find(house.domain.name, house.tenant.id, email)
        assert found is not None
        assert str(found.password_hash).startswith("pbkdf2-sha256$600000$")
        assert str(found.password_hash).count("$") == 3, "the wrapping is off"


async def test_hostile_rows_are_rejected_with_a_reason_and_the_others_taken(house: House) -> None:
    bad = [
        row(1, email="nobody"),
        row(2, email="a@b.example\nBcc: x@y.example"),
        row(3, name="a\x1b[2J"),
        row(4, roles="emperor"),
        row(5, roles="a\x00b"),
        row(6, hash="5f4dcc3b5aa765d61d8327deb882cf99"),
        row(7, hash="$2b$31$" + "a" * 53),
        row(8, hash="0" * 64, scheme="sha256-salt-first"),
        row(9, email_verified="maybe"),
        row(10, roles="\ud800"),
    ]
    told = await take(house, [*bad, row(11), row(12, email="P11@lindenhof.example"), row(13, email=EMAIL)])
    assert [one["line"] for one in told["rejected"]] == list(range(1, 11))
    assert (told["added"], told["present"]) == (1, 2)
    assert "5f4dcc3b" not in json.dumps(told)


def test_the_command_streams_batches_reports_and_says_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[dict[str, Any]] = []

    def ask(_: Path, do: str, /, **asked: Any) -> dict[str, Any]:
        assert do == "user.import"
        seen.append(asked)
        return {"added": len(asked["rows"]), "present": 0, "rejected": []}

    monkeypatch.setattr(administration, "ask_platform", ask)
    file, report = tmp_path / "people.csv", tmp_path / "rejected.txt"
    lines = [f"p{number}@x.example,{'n' * 5000}" for number in range(1100)]
    file.write_text("email,name\n" + "\n".join(lines) + "\n")
    words = ["import", "users", str(file), "--tenant", "t", "--report", str(report)]
    good = CliRunner().invoke(app, words)
    assert good.exit_code == 0, good.output
    assert sum(len(asked["rows"]) for asked in seen) == 1100
    assert all(len(asked["rows"]) <= MOST_ROWS for asked in seen)
    assert all(len(json.dumps(asked["rows"])) <= MOST_BYTES + 1000 for asked in seen)
    assert "1000 lines" in capfd.readouterr().err + good.output
    file.write_text("email,name\nx@x.example,X\nx,y,z\n")
    assert CliRunner().invoke(app, [*words, "--dry-run"]).exit_code == 1
    assert seen[-1]["dry_run"] is True
    assert report.read_text() == "line 3: there are 3 columns where there should be 2\n"
