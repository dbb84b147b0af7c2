"""Places for data, derived from troth.toml: what is listed, what may be connected to, and what is refused."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.platform import EXAMPLE
from troth.core.config import load_settings
from troth.core.errors import ConfigError
from troth.core.settings import (
    AcmeSettings,
    BackupSettings,
    MailSettings,
    PlaceSettings,
    RegionSettings,
    Settings,
)
from troth.data.places import Destination, declared_destinations, find_places, foreign_region
from troth.data.residency import Place


def settings(**changes: Any) -> Settings:
    return msgspec.structs.replace(load_settings(EXAMPLE), **changes)


def mail(**changes: Any) -> MailSettings:
    plain = MailSettings(host="smtp.provider.example", sender="a@b.example", region="DE")
    return msgspec.structs.replace(plain, **changes)


def test_the_machine_itself_is_the_place_of_members_keys_and_logs() -> None:
    found = {one.use: one for one in find_places(settings(backup=None))}
    assert {"members", "keys", "logs"} == found.keys()
    assert {str(one.place) for one in found.values()} == {"Ireland"}
    assert declared_destinations(settings(backup=None)) == ()


def test_every_place_that_is_reached_over_a_network_is_listed_with_its_address() -> None:
    everything = settings(
        mail=mail(),
        backup=BackupSettings(store="s3://copies/production", region="eu-central-1"),
        acme=AcmeSettings(
            directory="https://acme.example/directory", contact="a@b.example", terms_agreed=True
        ),
        places={"payments": PlaceSettings(host="API.payments.example", region="NL", purpose="Card payments")},
    )
    assert [str(one) for one in find_places(everything)][3:] == [
        "backups at s3.eu-central-1.amazonaws.com: AWS eu-central-1 (Germany)",
        "mail relay smtp.provider.example: Germany",
        "Card payments (API.payments.example): Netherlands",
    ]
    assert declared_destinations(everything) == (
        Destination("acme.example", 443, "certificates of public names"),
        Destination("api.payments.example", 443, "Card payments"),
        Destination("copies.s3.eu-central-1.amazonaws.com", 443, "backup store"),
        Destination("s3.eu-central-1.amazonaws.com", 443, "backup store"),
        Destination("smtp.provider.example", 587, "mail relay"),
    )


@pytest.mark.parametrize(
    ("store", "endpoint", "host", "port"),
    [
        ("sftp://troth@backup.example:2222/folder", "", "backup.example", 2222),
        ("sftp://troth@backup.example/folder", "", "backup.example", 22),
        ("s3://bucket", "https://s3.fr-par.scw.cloud", "s3.fr-par.scw.cloud", 443),
        ("s3://bucket", "https://storage.example:9000", "storage.example", 9000),
    ],
)
def test_a_store_is_reached_where_its_address_says(store: str, endpoint: str, host: str, port: int) -> None:
    backup = BackupSettings(store=store, endpoint=endpoint, region="FR")
    found = {(one.host, one.port) for one in declared_destinations(settings(backup=backup))}
    assert (host, port) in found


def test_a_replica_set_elsewhere_is_a_place_for_each_member() -> None:
    plain = load_settings(EXAMPLE)
    database = msgspec.structs.replace(
        plain.database, hosts=("db-1.example:5432", "10.0.0.7:5433"), regions=("IE", "eu-west-1")
    )
    elsewhere = settings(database=database, backup=None)
    assert [str(one) for one in find_places(elsewhere) if one.use == "members"] == [
        "database member db-1.example:5432: Ireland",
        "database member 10.0.0.7:5433: AWS eu-west-1 (Ireland)",
    ]
    assert [(one.host, one.port) for one in declared_destinations(elsewhere)] == [
        ("10.0.0.7", 5433),
        ("db-1.example", 5432),
    ]
    abroad = msgspec.structs.replace(database, regions=("IE", "US"))
    with pytest.raises(ConfigError) as refused:
        find_places(settings(database=abroad))
    assert refused.value.promise == "data.residency"


def test_a_folder_is_on_this_machine_unless_it_says_otherwise() -> None:
    (place,) = [one for one in find_places(settings(backup=BackupSettings())) if one.use == "backups"]
    assert (str(place.place), place.destinations) == ("Ireland", ())


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"mail": mail(region="US")}, "mail.region"),
        ({"mail": mail(host="email-smtp.us-east-1.amazonaws.com")}, "mail.host"),
        ({"backup": BackupSettings(store="s3://b", region="us-east-1")}, "backup.region"),
        ({"backup": BackupSettings(store="s3://b")}, "backup.region"),
        (
            {"backup": BackupSettings(store="s3://b", region="IE", endpoint="https://s3.us-west-2.x.example")},
            "backup.endpoint",
        ),
        ({"places": {"x": PlaceSettings(host="h.example", region="GB", purpose="p")}}, "places.x.region"),
        (
            {"places": {"x": PlaceSettings(host="nyc3.ap-south-1.h.example", region="DE", purpose="p")}},
            "places.x.host",
        ),
        ({"regions": {"cellar": RegionSettings(country="CH", reason="ours")}}, "regions.cellar.country"),
        ({"regions": {"cellar": RegionSettings(country="DE", reason=" ")}}, "regions.cellar.reason"),
        ({"mail": mail(region="cellar")}, "mail.region"),
        ({"regions": {"eu-west-2": RegionSettings(country="IE", reason="no London")}}, "regions.eu-west-2"),
        ({"regions": {"gb": RegionSettings(country="IE", reason="no London")}}, "regions.gb"),
    ],
)  # fmt: skip
def test_a_place_outside_is_refused_with_its_key_and_its_promise(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        find_places(settings(**changes))
    assert refused.value.promise == "data.residency"
    assert refused.value.key == key
    assert refused.value.hint


def test_a_region_of_ones_own_is_a_place_when_somebody_vouches_for_it() -> None:
    own = {"cellar": RegionSettings(country="DE", reason="Our data centre in Leipzig")}
    found = find_places(settings(regions=own, mail=mail(region="cellar")))
    assert str(found[-1].place) == "own region cellar (Germany)"


def test_a_client_that_is_told_of_sign_outs_is_a_place(tmp_path: Path) -> None:
    plain = load_settings(EXAMPLE)
    name, client = next(iter(plain.clients.items()))
    told = msgspec.structs.replace(client, backchannel_logout_uri="https://ledger.example/logout")
    clients = {**plain.clients, name: told}
    with pytest.raises(ConfigError, match="nothing says where that is") as refused:
        find_places(settings(clients=clients))
    assert refused.value.key == f"clients.{name}.backchannel_logout_uri"
    places = {"ledger": PlaceSettings(host="ledger.example", region="FI", purpose="Accounting")}
    assert find_places(settings(clients=clients, places=places))[-1].use == "receiver"


IRELAND, FRANKFURT = Place("IE", "IE", ""), Place("eu-central-1", "DE", "AWS")


@pytest.mark.parametrize(
    ("host", "place", "foreign"),
    [
        ("s3.eu-central-1.amazonaws.com", FRANKFURT, ""),
        ("bucket.s3.eu-west-1.amazonaws.com", IRELAND, ""),
        ("storage.example.de", IRELAND, ""),
        ("in-v3.mailjet.com", IRELAND, ""),
        ("s3.eu-central-2.wasabisys.com", FRANKFURT, ""),
        ("account.eu.r2.cloudflarestorage.com", IRELAND, ""),
        ("s3.us-east-1.amazonaws.com", IRELAND, "us-east-1"),
        ("bucket.s3-us-west-2.amazonaws.com", IRELAND, "us-west-2"),
        ("s3.eu-west-1.amazonaws.com", FRANKFURT, "eu-west-1"),
        ("s3.eu-west-2.amazonaws.com", IRELAND, "eu-west-2"),
        ("S3.EU-CENTRAL-2.amazonaws.com.", FRANKFURT, "eu-central-2"),
        ("bucket.s3.amazonaws.com", IRELAND, "s3.amazonaws.com (us-east-1)"),
        ("account.r2.cloudflarestorage.com", IRELAND, "r2.cloudflarestorage.com (no jurisdiction)"),
        ("fra1.digitaloceanspaces.com", IRELAND, "fra1"),
        ("s3.uk.io.cloud.ovh.net", IRELAND, "uk"),
        ("sos-ch-gva-2.exo.io", IRELAND, ""),  # no label of its own: only the declared region is checked
    ],
)
def test_an_address_that_names_another_region_is_seen(host: str, place: Place, foreign: str) -> None:
    assert foreign_region(host, place) == foreign
