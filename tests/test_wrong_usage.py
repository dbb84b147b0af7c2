"""What the command line says to somebody who mistyped, or who is in the wrong place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from troth.cli import main, verbs
from troth.cli.options import hours_up_to
from troth.cli.verbs import app
from troth.core.errors import PlatformError, TrothError, UsageError
from troth.hosting import control
from troth.wiring.administration.tenancy import read_policy_change


def failure(*arguments: str | Path) -> TrothError:
    """What the person is told."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, TrothError), done.output
    return done.exception


def hint(error: TrothError) -> str:
    assert isinstance(error, PlatformError | UsageError)
    return error.hint


def words(command: Any) -> Iterator[str]:
    yield command.help or ""
    for parameter in command.params:
        yield parameter.help or ""
    for one in getattr(command, "commands", {}).values():
        yield from words(one)


def test_no_word_of_any_help_is_taken_for_markup() -> None:
    for text in words(typer.main.get_command(app)):
        assert Text.from_markup(text).plain == text


def test_a_restore_without_the_recovery_key_says_how_to_give_it_and_makes_no_folder(tmp_path: Path) -> None:
    said = failure("backup", "restore", "--to", "latest", "--state", tmp_path / "new")
    assert "recovery.key is missing" in said.public
    assert "--recovery-key FILE" in hint(said)
    assert not (tmp_path / "new").exists()


def test_a_bundle_that_is_not_there_is_made_elsewhere(tmp_path: Path) -> None:
    said = failure("member", "import", tmp_path / "db-1.bundle", "--state", tmp_path / "new")
    assert "troth member enrol" in hint(said)


def test_hosts_that_cannot_be_read_are_told_with_the_reason(tmp_path: Path) -> None:
    said = failure("member", "enrol", "db-1", "--hosts", tmp_path / "none.toml", "--out", tmp_path / "b")
    assert said.public.endswith("cannot be read: No such file or directory.")
    assert "--hosts FILE" in hint(said)


def test_a_folder_without_logs_says_so(tmp_path: Path) -> None:
    assert "There are no logs" in failure("logs", "--state", tmp_path).public


@pytest.mark.parametrize("name", ["none.svg", "."])
def test_a_logo_that_cannot_be_read_is_named_once(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    said = failure("domain", "add", "a.example", "--tenant", "acme", "--logo", file)
    assert said.public.count(str(file)) == 1


def test_a_policy_without_a_value_is_not_sent(tmp_path: Path) -> None:
    said = failure("tenant", "policy", "acme", "second_factor", "--state", tmp_path)
    assert hint(said) == "Write second_factor=VALUE."


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "1e300", "soon"])
def test_hours_are_a_number_within_bounds(hours: str) -> None:
    with pytest.raises(typer.BadParameter, match="no number from 0 to 24"):
        hours_up_to(24)(hours)


@pytest.mark.parametrize(
    "verb",
    [
        ("history", "troth_up"),
        ("alerts", "silence", "disk"),
        ("client", "rotate-secret", "ledger", "--tenant", "acme"),
        ("client", "invite", "--tenant", "acme", "--scope", "tickets:read"),
    ],
)
def test_hours_that_are_none_are_wrong_usage(tmp_path: Path, verb: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*verb, "--hours", "nan", "--state", str(tmp_path)])
    assert done.exit_code == 2, done.output


@pytest.mark.parametrize(("count", "told"), [(199, False), (200, True)])
def test_a_full_page_of_customers_says_how_to_see_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, told: bool
) -> None:
    tenant = {"name": "", "domains": 1, "active": True, "declared": False}
    tenants = [{"slug": f"t{number:03}", **tenant} for number in range(count)]

    def ask(*_: object, **__: object) -> control.Answer:
        return {"tenants": tenants}

    monkeypatch.setattr(control, "ask", ask)
    done = CliRunner().invoke(app, ["tenant", "list", "--state", str(tmp_path)])
    assert ("--after t199" in done.output) is told


def test_a_policy_that_cannot_be_names_the_member_and_what_it_can_be() -> None:
    with pytest.raises(UsageError, match="second_factor cannot be so: invalid") as refused:
        read_policy_change({"second_factor": "maybe"})
    assert refused.value.hint == "It can be: off, optional, required."
    with pytest.raises(UsageError, match="session_idle_minutes cannot be so: expected int >= 1"):
        read_policy_change({"session_idle_minutes": 0})


def test_ctrl_c_before_a_verb_has_begun_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "app", interrupted)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
