"""What two readings of troth.toml differ in, and how each difference comes into force."""

from pathlib import Path

import msgspec
import pytest

from support.configuration import MINIMAL, Load
from troth.core.config import Settings
from troth.core.settings import Document
from troth.core.settings_changes import RULES, Changes, compare, fingerprints, rule_of

DOMAIN = """
[[domains]]
name = "owners.localhost"
tenant = "lindenhof"
app = "portal"
branding.name = "Owners"
"""


def between(before: Settings, after: Settings) -> Changes:
    return compare(before, after, fingerprints(before), fingerprints(after))


def changed(load: Load, good: str, bad: str) -> Changes:
    assert good in MINIMAL
    before = load(MINIMAL)
    return between(before, load(MINIMAL.replace(good, bad, 1)))


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ('name = "Lindenhof"', 'name = "Lindenhof Ltd"', "tenants.lindenhof.name: Lindenhof → Lindenhof Ltd"),
        ("#2c6e49", "#1f4e79", "domains.residents.localhost.branding.colour: #2c6e49 → #1f4e79"),
        ('["tickets:read"]', "[]", "clients.ledger.scopes: tickets:read → –"),
        ("[tenants", "[web]\ninstances = 3\n[tenants", "web.instances: 2 → 3"),
        ('name = "Anna"', 'name = "Ann"', "users.lindenhof/anna@lindenhof.example.name: Anna → Ann"),
    ],
)
def test_a_change_is_told_with_its_key_and_both_values(load: Load, good: str, bad: str, told: str) -> None:
    assert [str(one) for one in changed(load, good, bad).all] == [told]


def test_nothing_has_changed_where_only_the_order_and_the_words_around_it_did(load: Load) -> None:
    before = load(MINIMAL + DOMAIN)
    first, second = before.domains
    after = msgspec.structs.replace(before, domains=(second, first))
    assert between(before, after).all == ()


@pytest.mark.parametrize(
    ("more", "key", "how"),
    [
        (DOMAIN, "domains.owners.localhost", "live"),
        ("[places.bank]\nhost='bank.example'\nregion='DE'\npurpose='x'", "places.bank", "live"),
        ("[web]\nclient_per_second = 5", "web.client_per_second", "web"),
        ("[collections.notes]\nschema = 'ticket.json'", "collections.notes", "web"),
        ("[apps.shop]\ntarget = 'shop:app'\nfolder = '.'", "apps.shop", "web"),
        ("[backup]\nevery_hours = 12", "backup", "restart"),
        ("[edge]\nhttps_port = 9443", "edge.https_port", "restart"),
        ("[database]\nmembers = 5", "database.members", "restart"),
        ("[mail]\nhost='m.example'\nsender='a@b.example'\nregion='DE'", "mail", "restart"),
        ("[firewall]\nadministrators = ['203.0.113.0/24']", "firewall.administrators", "live"),
    ],
)
def test_each_key_says_how_it_comes_into_force(load: Load, more: str, key: str, how: str) -> None:
    (change,) = between(load(MINIMAL), load(f"{MINIMAL}\n{more}\n")).all
    assert (change.key, change.how) == (key, how)


@pytest.mark.parametrize(
    ("key", "how"), [("every_hours", "live"), ("keep_monthly", "live"), ("bandwidth", "restart")]
)
def test_backups_follow_their_hours_at_once_and_their_store_never(load: Load, key: str, how: str) -> None:
    before = load(f"{MINIMAL}\n[backup]\n{key} = 11\n")
    (change,) = between(before, load(f"{MINIMAL}\n[backup]\n{key} = 13\n")).all
    assert (change.key, change.how) == (f"backup.{key}", how)


def test_what_needs_a_start_says_what_to_do_instead(load: Load) -> None:
    changes = between(load(MINIMAL), load(MINIMAL + "\n[database]\nmembers = 5\n"))
    (refused,) = changes.refused
    assert "troth replicas" in refused.why


def test_a_file_that_was_rewritten_under_its_name_is_a_change(load: Load) -> None:
    before = load(MINIMAL)
    seen = fingerprints(before)
    schema = before.collections["tickets"].schema
    schema.write_text(schema.read_text().replace("body", "text"))
    (change,) = compare(before, before, seen, fingerprints(before)).all
    assert (change.key, change.how) == ("collections.tickets.schema", "web")


def test_every_table_of_the_file_has_a_rule() -> None:
    """A table that is added to the file without one would be a KeyError while people work."""
    for name in Document.__struct_fields__:
        assert rule_of((name, "any", "key")) in RULES.values()


def test_a_secret_is_named_by_its_file_and_never_shown(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "night.secret"
    secret.write_text("whsec_canary")
    secret.chmod(0o600)
    target = f"[alerts.targets.night]\nwebhook='https://a.example'\nsecret_file='{secret}'\nregion='DE'\n"
    before = load(f"{MINIMAL}\n{target}")
    seen = fingerprints(before)
    secret.write_text("whsec_another")
    changes = compare(before, before, seen, fingerprints(before))
    assert [one.key for one in changes.all] == ["alerts.targets.night.secret_file"]
    assert "whsec" not in str(changes.all)
