"""[tracing]: each fault is told with its key, and what it names is not repeated where it may hold a token."""

import pytest

from support.configuration import MINIMAL, Load, only_fault
from troth.core.errors import ConfigError
from troth.data.places import declared_destinations, find_places

TRACING = """
[tracing]
endpoint = "https://collector.example:4318/v1/traces"
region = "DE"
"""


def test_the_collector_is_a_place_and_a_way_out(load: Load) -> None:
    settings = load(MINIMAL + TRACING)
    assert settings.tracing is not None
    assert settings.tracing.share == 0.1
    (place,) = [one for one in find_places(settings) if one.use == "traces"]
    assert place.place.country == "DE"
    assert [(one.host, one.port) for one in declared_destinations(settings)] == [("collector.example", 4318)]


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        ("https://collector", "http://collector", "tracing.endpoint"),
        ("https://collector", "https://user:canary@collector", "tracing.endpoint"),
        ('region = "DE"', 'region = "DE"\nshare = 0.0', "tracing.share"),
        ('region = "DE"', 'region = "DE"\nshare = 1.5', "tracing.share"),
        ('region = "DE"', 'region = "DE"\nheaders_file = "nowhere"', "tracing.headers_file"),
        ('region = "DE"', 'region = "DE"\nca = "nowhere"', "tracing.ca"),
    ],
)
def test_a_fault_is_told_with_its_key(load: Load, good: str, bad: str, key: str) -> None:
    fault = only_fault(load, MINIMAL + TRACING.replace(good, bad, 1))
    assert fault.key == key
    assert "canary" not in f"{fault.public} {fault.hint}"


def test_a_collector_outside_of_the_eu_stops_the_start(load: Load) -> None:
    with pytest.raises(ConfigError) as refused:
        find_places(load(MINIMAL + TRACING.replace('"DE"', '"US"')))
    assert (refused.value.promise, refused.value.key) == ("data.residency", "tracing.region")
