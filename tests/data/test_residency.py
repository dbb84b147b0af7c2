"""Places for data: what lies in the EU or the EEA is known, everything else is refused with its promise."""

from pathlib import Path

import pytest

from troth.core.errors import ConfigError
from troth.data import residency
from troth.data.residency import Place, check_region


@pytest.mark.parametrize(
    ("region", "place"),
    [
        ("IE", Place("IE", "IE", "")),
        ("NO", Place("NO", "NO", "")),
        (" DE ", Place("DE", "DE", "")),
        ("eu-west-1", Place("eu-west-1", "IE", "AWS")),
        ("EU-Central-1", Place("eu-central-1", "DE", "AWS")),
        ("northeurope", Place("northeurope", "IE", "Azure")),
        ("europe-west4", Place("europe-west4", "NL", "Google Cloud")),
        ("fsn1", Place("fsn1", "DE", "Hetzner")),
        ("fr-par", Place("fr-par", "FR", "Scaleway")),
        ("at-vie-1", Place("at-vie-1", "AT", "Exoscale")),
    ],
)
def test_a_place_in_europe_is_known(region: str, place: Place) -> None:
    assert check_region(region) == place


@pytest.mark.parametrize(
    "region",
    [
        "US", "GB", "CH", "UK", "RU", "us-east-1", "eu-west-2", "eu-central-2", "ap-south-1", "uksouth",
        "switzerlandnorth", "europe-west2", "europe-west6", "ch-gva-2", "moon", "", "EU", "eu", "eu-west-1a",
        "eu-west-1; us-east-1", "ie\n",
    ],
)  # fmt: skip
def test_a_place_outside_europe_or_unknown_is_refused(region: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_region(region)
    assert refused.value.promise == "data.residency"
    assert refused.value.key == "platform.region"
    assert refused.value.hint


@pytest.mark.parametrize("region", ["CH", "eu-central-2", "switzerlandnorth", "europe-west6", "ch-gva-2"])
def test_switzerland_is_told_apart_from_the_eu(region: str) -> None:
    with pytest.raises(ConfigError, match=r"Switzerland is in neither the EU nor the EEA"):
        check_region(region)


def test_a_slip_is_told_with_what_was_meant() -> None:
    with pytest.raises(ConfigError) as refused:
        check_region("eu-wset-1")
    assert "Did you mean “eu-west-1”?" in refused.value.hint
    with pytest.raises(ConfigError) as refused:
        check_region("ie")
    assert refused.value.hint == "Write “IE” for Ireland."


def test_the_caller_says_where_the_region_stands() -> None:
    with pytest.raises(ConfigError) as refused:
        check_region("US", key="backups.region", file=Path("troth.toml"), line=7)
    assert refused.value.place == "troth.toml:7: backups.region"


def test_the_union_has_27_members_and_the_area_30() -> None:
    assert (len(residency.EUROPEAN_UNION), len(residency.COUNTRIES)) == (27, 30)


def test_every_region_of_the_table_lies_in_a_country_of_the_area() -> None:
    places = [check_region(region) for regions in residency.REGIONS.values() for region in regions]
    assert {place.country for place in places} <= residency.COUNTRIES.keys()
    assert len({place.region for place in places}) == len(places)


def test_no_name_is_both_allowed_and_elsewhere() -> None:
    allowed = {region for regions in residency.REGIONS.values() for region in regions} | set(
        residency.COUNTRIES
    )
    assert not allowed & set(residency.ELSEWHERE)
