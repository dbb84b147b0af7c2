"""Where instances may answer, and what a release of the web service is configured with."""

import itertools
from datetime import timedelta
from pathlib import Path

import msgspec

from support.configuration import EXAMPLE
from troth.core.clock import SystemClock
from troth.core.config import Settings, load_settings
from troth.core.leader import DatabaseTarget
from troth.core.process import Endpoint
from troth.core.state import open_state
from troth.hosting.edge_state import WEB
from troth.hosting.instance_file import InstanceFile
from troth.hosting.wire import decode
from troth.wiring.blueprint import Blueprint, WebConfiguration
from troth.wiring.certificates import Certificates


class Drawn:
    """A blueprint over a state folder, whose web configuration says how much a client may ask."""

    def __init__(self, folder: Path) -> None:
        self.settings = load_settings(EXAMPLE / "troth.toml")
        self.state = open_state(folder / "s")
        self.state.run.mkdir(exist_ok=True)
        self.blueprint = self.draw(resumes=False)

    def draw(self, *, resumes: bool) -> Blueprint:
        """As a keeper makes it, or one that takes over."""
        return Blueprint(
            self.settings,
            self.state,
            Certificates(self.state, timedelta(hours=1), SystemClock()),
            private=Endpoint("127.0.0.1", 1),
            web=self._web,
            ports=itertools.count(2),
            resumes=resumes,
        )

    def follow(self, settings: Settings) -> None:
        self.settings = settings
        self.blueprint.follow(settings)

    def configured(self, file: Path) -> tuple[InstanceFile, WebConfiguration]:
        instance = decode(file.read_bytes(), InstanceFile)
        told = Path(instance.environment["TROTH_WEB"]).read_bytes()
        return instance, decode(told, WebConfiguration)

    def _web(self) -> WebConfiguration:
        place = Path("/nowhere")
        return WebConfiguration(
            platform="Residents",
            database=DatabaseTarget((), "troth_app", place, place, place),
            root_key=place,
            https_port=443,
            connections=1,
            collections={},
            public={},
            client_per_second=self.settings.web.client_per_second,
        )


def with_web(settings: Settings, **changes: int) -> Settings:
    return msgspec.structs.replace(settings, web=msgspec.structs.replace(settings.web, **changes))


def test_more_instances_get_places_and_nobody_loses_his(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path)
    before = drawn.blueprint.places_of(WEB)
    drawn.follow(with_web(drawn.settings, max_instances=6))
    more = drawn.blueprint.places_of(WEB)
    assert set(before) < set(more)
    assert len(more) == len(set(more)) == len(before) + 4
    drawn.follow(with_web(drawn.settings, max_instances=2))
    assert drawn.blueprint.places_of(WEB) == more


async def test_an_instance_keeps_the_configuration_of_its_release(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path)
    first = drawn.blueprint.first_release(WEB)
    prepared = drawn.blueprint.prepare(WEB, "web-1", 1, first)
    drawn.follow(with_web(drawn.settings, client_per_second=7))
    second = drawn.blueprint.web_release()
    assert second != first
    beside = drawn.blueprint.prepare(WEB, "web-1", 2, second)
    again = drawn.blueprint.prepare(WEB, "web-2", 1, first)
    rates = [
        drawn.configured(Path(one.spec.argv[-1]))[1].client_per_second for one in (prepared, beside, again)
    ]
    assert rates == [30, 7, 30]


async def test_a_keeper_that_takes_over_finds_everybody_where_and_what_they_are(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path)
    drawn.follow(with_web(drawn.settings, max_instances=6, client_per_second=7))
    release = drawn.blueprint.web_release()
    prepared = drawn.blueprint.prepare(WEB, "web-1", 2, release)
    drawn.blueprint.keep_web_release(release)
    next_one = drawn.draw(resumes=True)
    for service in (WEB, "portal"):
        assert next_one.places_of(service) == drawn.blueprint.places_of(service)
    assert next_one.first_release(WEB) == release
    resumed = next_one.resume(WEB, "web-1", 2, release)
    assert resumed is not None
    assert resumed.spec == prepared.spec, "it is exactly this process"
    assert next_one.web_release() != release


async def test_spans_have_a_pipe_only_where_something_is_traced(tmp_path: Path) -> None:
    drawn = Drawn(tmp_path)
    prepared = drawn.blueprint.prepare(WEB, "web-1", 1, drawn.blueprint.first_release(WEB))
    instance, _ = drawn.configured(Path(prepared.spec.argv[-1]))
    assert (instance.spans, instance.log_format) == (None, "text")
