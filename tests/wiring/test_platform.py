"""What is wrong with a configuration is told before anything starts."""

import json
from pathlib import Path

import msgspec
import pytest

from troth.core.config import load_settings
from troth.core.errors import ConfigError
from troth.wiring.platform import connections_for
from troth.wiring.reading import check

EXAMPLE = Path(__file__).parents[2] / "examples" / "residents" / "troth.toml"


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"_meta": {"type": "object"}}, "_meta"),
        ({"when": {"type": "string", "format": "half past"}}, "half past"),
    ],
)
def test_a_schema_that_an_instance_would_refuse_is_refused_beforehand(
    tmp_path: Path, properties: object, words: str
) -> None:
    settings = load_settings(EXAMPLE)
    schema = tmp_path / "odd.json"
    schema.write_text(json.dumps({"type": "object", "properties": properties}))
    odd = msgspec.structs.replace(next(iter(settings.collections.values())), schema=schema)
    with pytest.raises(ConfigError, match=words) as refused:
        check(msgspec.structs.replace(settings, collections={"odd": odd}))
    assert refused.value.file == schema


@pytest.mark.parametrize("instances", range(1, 17))
def test_web_instances_never_want_more_connections_than_a_member_takes(instances: int) -> None:
    watching = 2
    assert connections_for(instances) >= 1
    assert (instances + 1) * (connections_for(instances) + watching) <= 51
    assert connections_for(2) == 8
