"""A reload brings everything in, in its order, or takes everything back, in the opposite one."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from support.configuration import EXAMPLE
from troth.core.config import Settings, load_settings
from troth.core.errors import ConfigError, PlatformError, UsageError
from troth.core.settings import AcmeSettings
from troth.hosting.edge_admin import EdgeRefused
from troth.wiring.reloading import APPLIED, WENT_BACK, Hands, Reloading

Change = Callable[[Settings], Settings]


def limits(settings: Settings) -> Settings:
    web = msgspec.structs.replace(settings.web, client_per_second=7)
    return msgspec.structs.replace(settings, web=web)


def logging(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, logging=msgspec.structs.replace(settings.logging, format="json"))


def networks(settings: Settings) -> Settings:
    first, *others = settings.domains
    first = msgspec.structs.replace(first, deny=("198.51.100.66",))
    return msgspec.structs.replace(settings, domains=(first, *others))


def members(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, database=msgspec.structs.replace(settings.database, members=5))


class House:
    """Everything around a reload, noted down; `broken` fails with an error."""

    def __init__(self, *changes: Change, broken: str = "") -> None:
        self.running = load_settings(EXAMPLE / "troth.toml")
        self.read = self.running
        for change in changes:
            self.read = change(self.read)
        self.now = self.running
        self.apps = set(self.running.apps)
        self.broken, self.busy = broken, ""
        self.error: type[PlatformError] = PlatformError
        self.done: list[str] = []
        self.trail: list[tuple[str, Any]] = []
        self.fault: ConfigError | None = None
        hands = Hands(self._read, self._follow, self._declare, self._keep, lambda: self.busy, self._note)
        self.reloading = Reloading(self.running, self, hands)

    async def reload(self, **asked: object) -> dict[str, Any]:
        """Ask, and wait for the end; returns the last answer."""
        actions = self.reloading.actions()
        answer = await actions["reload"](asked)
        if answer.get("begun"):
            async with asyncio.timeout(30):
                while not (progress := await actions["reload.progress"]({}))["done"]:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            answer = {**answer, **progress}
        return answer

    def named(self, settings: Settings) -> str:
        return "former" if settings == self.running else "new"

    def _read(self, running: Settings) -> Settings:
        del running
        if self.fault is not None:
            raise self.fault
        return self.read

    def _follow(self, settings: Settings) -> None:
        self.now = settings
        self.done.append(f"follow {self.named(settings)}")

    async def _declare(self, settings: Settings) -> None:
        self.do(f"declare {self.named(settings)}")

    def _keep(self, settings: Settings) -> None:
        self.done.append(f"keep {self.named(settings)}")

    async def _note(self, event: str, detail: object) -> None:
        self.trail.append((event, msgspec.to_builtins(detail)))

    def do(self, what: str) -> None:
        self.done.append(what)
        if what == self.broken:
            raise self.error(f"{what} failed.")

    # --- the services ---------------------------------------------------------------------------------------

    def edge_gist(self) -> dict[str, Any]:
        return {"deny": [one.deny for one in self.now.domains]}

    async def load_edge(self) -> None:
        self.do(f"edge {self.named(self.now)}")

    async def roll_web(self, tell: Callable[[str], None]) -> Callable[[], Awaitable[None]]:
        self.do("web new")

        async def back() -> None:
            self.do("web former")

        return back

    async def replace_instances(self, *, applications: bool = False) -> int:
        self.do(f"apps {self.named(self.now)}")
        return 2

    async def add_applications(self, tell: Callable[[str], None]) -> None:
        self.apps |= self.now.apps.keys()
        self.do(f"add {' '.join(sorted(self.apps))}")

    async def drop_applications(self, tell: Callable[[str], None]) -> None:
        if gone := self.apps - self.now.apps.keys():
            self.apps -= gone
            self.do(f"drop {' '.join(gone)}")

    def forget_all_gone(self) -> None:
        self.done.append("tidy")


async def test_what_can_be_taken_back_comes_before_what_cannot() -> None:
    house = House(limits, logging, networks)
    answer = await house.reload()
    assert answer["failed"] == ""
    assert house.done == [
        "follow new",
        "web new",
        "apps new",
        "edge new",
        "declare new",
        "follow new",
        "keep new",
        "tidy",
    ]
    ((event, detail),) = house.trail
    assert event == APPLIED
    assert detail["keys"] == ("web.client_per_second", "logging.format", "domains.residents.localhost.deny")
    assert not (await house.reload())["changes"], "it is in force"


async def test_an_authority_that_was_rewritten_under_its_name_is_read_by_the_edge(tmp_path: Path) -> None:
    house = House(lambda settings: with_acme(settings, tmp_path))
    (tmp_path / "ca.pem").write_text("one")
    await house.reload()
    house.done.clear()
    (tmp_path / "ca.pem").write_text("another")
    await house.reload()
    assert house.done == ["follow new", "edge new", "declare new", "follow new", "keep new", "tidy"]


def with_acme(settings: Settings, folder: Path) -> Settings:
    acme = AcmeSettings(
        directory="https://acme.example/d", contact="a@b.example", terms_agreed=True, ca=folder / "ca.pem"
    )
    return msgspec.structs.replace(settings, acme=acme)


async def test_only_what_has_changed_is_touched() -> None:
    house = House(networks)
    await house.reload()
    assert house.done == ["follow new", "edge new", "declare new", "follow new", "keep new", "tidy"]


@pytest.mark.parametrize(
    ("broken", "undone"),
    [
        ("web new", []),
        ("apps new", ["follow former", "apps former", "web former"]),
        ("edge new", ["follow former", "edge former", "follow former", "apps former", "web former"]),
        (
            "declare new",
            [
                "declare former",
                *("follow former", "edge former", "follow former", "apps former", "web former"),
            ],
        ),
    ],
)
async def test_a_failure_takes_everything_back_with_the_reason(broken: str, undone: list[str]) -> None:
    house = House(limits, logging, networks, broken=broken)
    answer = await house.reload()
    assert answer["failed"] == f"{broken} failed."
    at = house.done.index(broken)
    assert house.done[at + 1 :] == [*undone, "follow former", "tidy"]
    assert house.now == house.running
    assert house.trail == [(WENT_BACK, {"keys": house.trail[0][1]["keys"], "why": f"{broken} failed."})]
    house.broken = ""
    assert (await house.reload())["failed"] == "", "and it can be tried again"


def shop(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, apps={**settings.apps, "shop": settings.apps["portal"]})


async def test_an_application_is_added_first_and_taken_away_last() -> None:
    house = House(shop)
    await house.reload()
    assert house.done == [
        *("follow new", "add portal shop", "follow new", "web new", "declare new", "follow new"),
        *("keep new", "tidy"),
    ]
    house.done.clear()
    house.read = house.running
    await house.reload()
    assert house.done == [
        *("follow former", "web new", "declare former", "drop shop", "follow former"),
        *("keep former", "tidy"),
    ]


async def test_an_application_that_was_added_goes_again_with_the_rest() -> None:
    house = House(shop, broken="declare new")
    await house.reload()
    assert house.done[-6:] == [
        *("web former", "follow former", "drop shop", "follow former", "follow former", "tidy")
    ]
    assert house.apps == {"portal"}


async def test_an_edge_that_refused_is_left_in_peace() -> None:
    """To load the former configuration again would close idle connections."""
    house = House(networks, broken="edge new")
    house.error = EdgeRefused
    assert (await house.reload())["failed"] == "edge new failed."
    assert house.done == ["follow new", "edge new", "follow former", "tidy"]


async def test_a_dry_run_tells_and_touches_nothing() -> None:
    house = House(limits, networks)
    answer = await house.reload(dry=True)
    assert [one["how"] for one in answer["changes"]] == ["web", "live"]
    assert (answer["begun"], house.done) == (False, [])


async def test_one_change_that_needs_a_start_refuses_all_of_them() -> None:
    house = House(limits, members)
    answer = await house.reload()
    assert (answer["refused"], answer["begun"], house.done) == (True, False, [])


async def test_a_fault_of_the_file_is_told_with_its_place() -> None:
    house = House(limits)
    house.fault = ConfigError("No.", file=Path("/etc/troth.toml"), line=7, key="web.instances", hint="Yes.")
    fault = cast("dict[str, Any]", (await house.reload())["fault"])
    assert (fault["file"], fault["line"], fault["key"]) == ("/etc/troth.toml", 7, "web.instances")
    assert house.done == []


async def test_nothing_is_reloaded_in_the_middle_of_a_deployment() -> None:
    house = House(limits)
    house.busy = "portal"
    with pytest.raises(UsageError, match="portal is being deployed"):
        await house.reload()
