"""Receipts of acknowledged writes: the canary writer at a real PostgreSQL, the count, the signed chain."""

import asyncio
import base64
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from typer.testing import CliRunner
from uuid_utils.compat import uuid7

from support.postgres import Tenant, new_tenant
from troth.cli.verbs import app
from troth.core.db import Database
from troth.core.errors import PlatformError, Unavailable
from troth.core.jose import Signer, generate_signing_key
from troth.core.secret import Secret
from troth.data import receipt_log
from troth.data.keys import KeyRing
from troth.data.receipt_log import (
    ReceiptFault,
    ReceiptLog,
    read_log,
    read_public_key,
    set_aside,
    verify_receipts,
)
from troth.data.receipts import (
    KEPT_ROWS,
    CanaryWriter,
    Receipt,
    Row,
    count_survivors,
    digest_row,
    open_rows,
    read_lsn,
    read_rows,
)
from troth.data.sealing import SealError

ROOT = Secret(bytes(range(32)))


def a_row(number: int) -> Row:
    return Row(number, uuid7(), b"TR" + bytes(60))


def receipt_of(row: Row, lsn: str = "") -> Receipt:
    return Receipt(
        number=row.number,
        id=row.id,
        at="2026-11-25T12:00:00.000Z",
        lsn=lsn,
        timeline=1,
        row=digest_row(row),
        previous="",
    )


@pytest.fixture
def log(tmp_path: Path) -> ReceiptLog:
    return ReceiptLog.open(tmp_path / "receipts", tmp_path / "receipts.pem")


@pytest.fixture
async def writer(
    owner_database: Database, database: Database, log: ReceiptLog, tenant: Tenant
) -> CanaryWriter:
    keys = await KeyRing(database, ROOT).keys(tenant.id)
    rows = await read_rows(owner_database)
    return CanaryWriter(
        owner_database, keys, tenant.id, log, newest=max((one.number for one in rows), default=0)
    )


async def test_an_acknowledged_write_has_a_receipt_and_survives(
    writer: CanaryWriter, log: ReceiptLog, auditor_database: Database
) -> None:
    written = [await writer.write() for _ in range(3)]
    assert tuple(written) == log.recent()
    assert [one.number for one in written] == [written[0].number + step for step in range(3)]
    assert read_lsn(written[0].lsn) < read_lsn(written[2].lsn)
    assert written[0].timeline == 1
    survival = count_survivors(log.recent(), await read_rows(auditor_database))
    assert (survival.acknowledged, survival.survived, survival.lost) == (3, 3, ())
    assert survival.is_whole
    assert str(survival) == "3 of 3 acknowledged writes survived"


async def test_a_deleted_row_is_counted_as_lost_and_a_changed_one_as_altered(
    writer: CanaryWriter, log: ReceiptLog, owner_database: Database, auditor_database: Database
) -> None:
    first, second, _ = [await writer.write() for _ in range(3)]
    await owner_database.execute("delete from troth.canary_row where number = $1", first.number)
    await owner_database.execute(
        "update troth.canary_row set sealed = sealed || '\\x00' where number = $1", second.number
    )
    survival = count_survivors(log.recent(), await read_rows(auditor_database))
    assert (survival.acknowledged, survival.survived) == (3, 1)
    assert (survival.lost, survival.altered) == ((first.number,), (second.number,))
    assert not survival.is_whole


async def test_the_rows_open_with_the_tenants_keys_and_with_no_others(
    writer: CanaryWriter,
    database: Database,
    owner_database: Database,
    auditor_database: Database,
    tenant: Tenant,
) -> None:
    number = (await writer.write()).number
    rows = [row for row in await read_rows(auditor_database) if row.number == number]
    keys = await KeyRing(database, ROOT).keys(tenant.id)
    assert open_rows(keys, rows) == 1
    stranger = await KeyRing(database, ROOT).keys((await new_tenant(owner_database)).id)
    with pytest.raises(SealError):
        open_rows(stranger, rows)


async def test_rows_are_removed_once_enough_newer_ones_are_there(
    writer: CanaryWriter, monkeypatch: pytest.MonkeyPatch, auditor_database: Database
) -> None:
    monkeypatch.setattr("troth.data.receipts.KEPT_ROWS", 2)
    numbers = [(await writer.write()).number for _ in range(4)]
    assert [row.number for row in await read_rows(auditor_database)] == numbers[2:]


async def test_a_web_instance_can_neither_read_nor_remove_canaries(database: Database) -> None:
    for statement in (
        "select * from troth.canary_row",
        "delete from troth.canary_row",
        "select troth.write_canary(1, gen_random_uuid(), gen_random_uuid(), '', 1)",
    ):
        with pytest.raises(Exception, match="permission denied"):
            await database.execute(statement)


class Failing:
    """A database that loses the connection in the commit, or after it."""

    def __init__(self, database: Database, *, at: str) -> None:
        self._database = database
        self._at = at

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> Sequence[Any]:
        if self._at in query:
            raise Unavailable("The database was lost; whether the change was made is not known.")
        return await self._database.fetch(query, *args, idempotent=idempotent)


async def test_an_unknown_outcome_is_never_a_receipt_and_its_number_never_used_again(
    owner_database: Database, database: Database, log: ReceiptLog, tenant: Tenant
) -> None:
    keys = await KeyRing(database, ROOT).keys(tenant.id)
    writer = CanaryWriter(Failing(owner_database, at="write_canary"), keys, tenant.id, log, newest=10)
    with pytest.raises(Unavailable):
        await writer.write()
    assert log.recent() == ()
    with pytest.raises(Unavailable):
        await writer.write()
    assert log.newest == 0


async def test_a_leader_lost_right_after_the_commit_leaves_a_receipt_without_a_place(
    owner_database: Database, database: Database, log: ReceiptLog, tenant: Tenant
) -> None:
    newest = max((row.number for row in await read_rows(owner_database)), default=0)
    keys = await KeyRing(database, ROOT).keys(tenant.id)
    writer = CanaryWriter(
        Failing(owner_database, at="select pg_current"), keys, tenant.id, log, newest=newest
    )
    assert (await writer.write()).lsn == ""
    assert log.newest == newest + 1


async def test_a_number_that_a_late_commit_has_taken_is_passed_over(
    writer: CanaryWriter, owner_database: Database, tenant: Tenant, log: ReceiptLog
) -> None:
    number = (await writer.write()).number + 1
    await owner_database.execute(
        "insert into troth.canary_row (number, id, tenant_id, sealed)"
        " values ($1, $2, $3, 'TR'::bytea || decode(repeat('00', 60), 'hex'))",
        *(number, uuid7(), tenant.id),
    )
    with pytest.raises(Unavailable, match="nothing was changed"):
        await writer.write()
    assert (await writer.write()).number == number + 1
    survival = count_survivors(log.recent(), await read_rows(owner_database))
    assert (survival.acknowledged, survival.survived, survival.unknown) == (2, 2, 1)


def test_a_restore_is_held_to_what_was_acknowledged_before_the_place_it_reached() -> None:
    rows = [a_row(number) for number in range(1, 5)]
    receipts = [
        receipt_of(rows[0], "0/100"),
        receipt_of(rows[1], ""),  # no later than the next
        receipt_of(rows[2], "0/200"),
        receipt_of(rows[3], "1/0"),
    ]
    assert count_survivors(receipts, rows[:1], until="0/1FF").acknowledged == 1
    reached = count_survivors(receipts, rows[:1], until="0/200")
    assert (reached.acknowledged, reached.survived, reached.lost) == (3, 1, (2, 3))
    assert count_survivors(receipts, rows, until="2/0").survived == 4
    with pytest.raises(ValueError, match="no place"):
        count_survivors(receipts, rows, until="yesterday")


def test_what_was_removed_on_purpose_is_not_lost_and_an_emptied_table_is() -> None:
    old, new = a_row(1), a_row(1 + KEPT_ROWS)
    receipts = [receipt_of(old), receipt_of(new)]
    survival = count_survivors(receipts, [new])
    assert (survival.acknowledged, survival.survived) == (1, 1)
    assert count_survivors(receipts, []).lost == (old.number, new.number)
    assert count_survivors([], [new]).unknown == 0


async def filled(log: ReceiptLog, count: int) -> None:
    for number in range(1, count + 1):
        await log.append(receipt_of(a_row(number)))


async def test_the_log_is_a_chain_that_anybody_with_the_public_key_can_check(
    log: ReceiptLog, tmp_path: Path
) -> None:
    await filled(log, 3)
    key = read_public_key(tmp_path / "receipts" / "key.json")
    assert "d" not in key
    found = verify_receipts(read_log(tmp_path / "receipts"), key)
    assert found == log.recent()
    assert (found[0].previous, len(found[1].previous)) == ("", 43)


async def test_the_log_and_its_key_are_their_owners_alone(log: ReceiptLog, tmp_path: Path) -> None:
    await filled(log, 1)
    for path in (tmp_path / "receipts", tmp_path / "receipts" / "log.jws", tmp_path / "receipts.pem"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def left_out(lines: list[bytes]) -> list[bytes]:
    return [lines[0], *lines[2:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def repeated(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1], lines[1], *lines[2:]]


def changed(lines: list[bytes]) -> list[bytes]:
    header, payload, signature = lines[1].split(b".")
    text = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
    text = text.replace(b'"timeline":1', b'"timeline":2')
    return [lines[0], b".".join((header, base64.urlsafe_b64encode(text).rstrip(b"="), signature)), *lines[2:]]


def forged(lines: list[bytes]) -> list[bytes]:
    signer = Signer("another", generate_signing_key())
    return [lines[0], signer.sign(msgspec.to_builtins(receipt_of(a_row(2))), receipt_log.TYPE).encode()]


def oversized(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1] + b"A" * 4000]


@pytest.mark.parametrize("tamper", [left_out, swapped, repeated, changed, forged, oversized])
async def test_a_log_that_was_tampered_with_does_not_verify(
    tamper: Any, log: ReceiptLog, tmp_path: Path
) -> None:
    await filled(log, 4)
    folder = tmp_path / "receipts"
    lines = tamper(list(read_log(folder)))
    with pytest.raises(ReceiptFault) as fault:
        verify_receipts(lines, read_public_key(folder / "key.json"))
    assert fault.value.line in (2, 3)
    (folder / "log.jws").write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises(ReceiptFault):
        ReceiptLog.open(folder, tmp_path / "receipts.pem")
    assert [file.name for file in set_aside(folder, "faulty")] == ["log.jws.faulty"]
    assert ReceiptLog.open(folder, tmp_path / "receipts.pem").newest == 0


async def test_the_log_goes_on_after_a_restart_and_after_a_line_that_a_crash_tore_off(
    log: ReceiptLog, tmp_path: Path
) -> None:
    await filled(log, 2)
    file = tmp_path / "receipts" / "log.jws"
    file.write_bytes(file.read_bytes() + b"eyJhbGciOiJFUzI1NiIsInR5cCI6")
    again = ReceiptLog.open(tmp_path / "receipts", tmp_path / "receipts.pem")
    assert again.newest == 2
    await again.append(receipt_of(a_row(3)))
    assert [one.number for one in ReceiptLog.open(file.parent, tmp_path / "receipts.pem").recent()] == [
        1,
        2,
        3,
    ]


async def test_the_log_is_bounded_and_the_chain_leads_from_file_to_file(
    log: ReceiptLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipt_log, "GENERATION", 3)
    await filled(log, 8)
    folder = tmp_path / "receipts"
    assert sorted(file.name for file in folder.iterdir()) == ["key.json", "log.1.jws", "log.jws"]
    found = verify_receipts(read_log(folder), read_public_key(folder / "key.json"))
    assert [one.number for one in found] == [4, 5, 6, 7, 8]


async def test_appends_that_were_cut_short_do_not_fork_the_chain(log: ReceiptLog, tmp_path: Path) -> None:
    for number in range(1, 20, 2):
        cut_short = asyncio.create_task(log.append(receipt_of(a_row(number))))
        await asyncio.sleep(0)
        cut_short.cancel()
        await log.append(receipt_of(a_row(number + 1)))
    verify_receipts(read_log(tmp_path / "receipts"), read_public_key(tmp_path / "receipts" / "key.json"))


async def test_a_full_disk_leaves_the_log_as_it_was(
    log: ReceiptLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(log, 1)
    with monkeypatch.context() as full:
        full.setattr("troth.data.receipt_log.os.fdatasync", _no_space)
        with pytest.raises(OSError, match="No space"):
            await log.append(receipt_of(a_row(2)))
    await log.append(receipt_of(a_row(3)))
    again = ReceiptLog.open(tmp_path / "receipts", tmp_path / "receipts.pem")
    assert [one.number for one in again.recent()] == [1, 3]


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_key_that_is_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("[]")
    with pytest.raises(PlatformError, match="cannot be read"):
        read_public_key(tmp_path / "key.json")


def test_an_identifier_is_part_of_what_a_receipt_is_for() -> None:
    row = a_row(1)
    other = msgspec.structs.replace(row, id=UUID(int=1))
    assert count_survivors([receipt_of(row)], [other]).altered == (1,)


async def test_the_command_line_checks_a_copy_of_the_log_offline(log: ReceiptLog, tmp_path: Path) -> None:
    await filled(log, 2)
    folder = tmp_path / "receipts"
    run = CliRunner()
    good = run.invoke(app, ["receipts", "verify", str(folder)])
    assert (good.exit_code, "2 receipts" in good.output) == (0, True), good.output
    first, second = read_log(folder)
    (folder / "log.jws").write_bytes(second + b"\n" + first + b"\n")
    bad = run.invoke(app, ["receipts", "verify", str(folder)])
    assert isinstance(bad.exception, ReceiptFault)
    assert run.invoke(app, ["receipts", "verify", str(tmp_path)]).exit_code != 0
