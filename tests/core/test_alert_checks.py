"""Whom alerts are told to, as troth.toml says it."""

from pathlib import Path

import pytest

from support.configuration import MINIMAL, Load, only_fault
from troth.core.config import Settings
from troth.core.errors import ConfigError
from troth.data.places import declared_destinations, find_places

HOOK = 'webhook = "https://alerts.example.eu/hook"\nsecret_file = "hook.secret"\nregion = "DE"\n'
MAIL = '[mail]\nhost = "smtp.example.eu"\nsender = "no-reply@company.example"\nregion = "DE"\n'


@pytest.fixture
def _secret(folder: Path) -> None:
    (folder / "hook.secret").write_text("x")


def with_target(lines: str, *, name: str = "night", more: str = "") -> str:
    return f"{MINIMAL}\n{more}\n[alerts.targets.{name}]\n{lines}"


@pytest.mark.usefixtures("_secret")
def test_a_webhook_is_a_place_of_its_own_and_may_be_reached(load: Load, folder: Path) -> None:
    settings = load(with_target(HOOK + "after_minutes = 10"))
    target = settings.alerts.targets["night"]
    assert target.secret_file == folder / "hook.secret"
    assert (target.after_minutes, target.repeat_hours, target.least) == (10, 4, "warning")
    assert [(one.host, one.port) for one in declared_destinations(settings)] == [("alerts.example.eu", 443)]
    assert any(place.name == "alerts to night" for place in find_places(settings))


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize("region", ["US", "us-east-1", "CH"])
def test_a_target_outside_the_union_is_refused_by_name(load: Load, region: str) -> None:
    settings: Settings = load(with_target(HOOK.replace('"DE"', f'"{region}"')))
    with pytest.raises(ConfigError) as caught:
        find_places(settings)
    assert caught.value.key == "alerts.targets.night.region"
    assert caught.value.promise == "data.residency"


@pytest.mark.usefixtures("_secret")
def test_an_address_that_names_another_region_is_refused(load: Load) -> None:
    settings = load(with_target(HOOK.replace("alerts.example.eu", "hooks.us-east-1.example.com")))
    with pytest.raises(ConfigError, match="us-east-1"):
        find_places(settings)


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (HOOK.replace("https", "http"), "webhook"),
        (HOOK.replace("https://", "https://u:p@"), "webhook"),
        (HOOK.replace("alerts.example.eu/hook", "/hook"), "webhook"),
        (HOOK.replace("alerts.example.eu/hook", "a:99999/"), "webhook"),
        (HOOK.replace('secret_file = "hook.secret"\n', ""), "secret_file"),
        (HOOK.replace("hook.secret", "missing"), "secret_file"),
        (HOOK + 'mail = "a@b.example"', ""),
        ('region = "DE"', ""),
        ('mail = "a@b.example"\nregion = "DE"', "mail"),
    ],
)
def test_a_target_that_cannot_be_told_is_refused(load: Load, lines: str, key: str) -> None:
    fault = only_fault(load, with_target(lines))
    assert fault.key == f"alerts.targets.night{'.' if key else ''}{key}"


@pytest.mark.parametrize("address", ["team", "a b@x.example", "tëam@x.example"])
def test_a_mailbox_needs_an_address(load: Load, address: str) -> None:
    fault = only_fault(load, with_target(f'mail = "{address}"\nregion = "DE"', more=MAIL))
    assert fault.key == "alerts.targets.night.mail"


@pytest.mark.usefixtures("_secret")
def test_the_address_of_a_webhook_is_not_repeated_in_a_fault(load: Load) -> None:
    fault = only_fault(load, with_target(HOOK.replace("https://alerts", "http://token-of-ours")))
    assert "token-of-ours" not in str(fault)


@pytest.mark.usefixtures("_secret")
def test_a_name_that_would_be_no_label_is_refused(load: Load) -> None:
    assert only_fault(load, with_target(HOOK, name='"Night shift"')).key.startswith("alerts.targets")
