"""Alerts that are really told: over HTTPS to a receiver and by SMTP to a relay, again after a failure and
after the keeper's end."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.access import HeldClock
from support.platform import EXAMPLE
from support.receiver import SECRET, Receiver, running_receiver
from support.relay import Kept, running_relay, text_of
from troth.core.config import load_settings
from troth.core.errors import ConfigError, PlatformError, UsageError
from troth.core.settings import AlertSettings, AlertTargetSettings, MailSettings
from troth.hosting.watch.metrics import Sample
from troth.hosting.watch.promise import MonitoringView, probe
from troth.hosting.watch.watching import Look, Watch, Watched
from troth.wiring.alert_targets import check_targets, senders
from troth.wiring.alerting import Alerting

DOWN = Look((Sample("troth_edge_up", 0.0),), frozenset({"edge"}))
UP = Look((Sample("troth_edge_up", 1.0),), frozenset({"edge"}))


class House:
    """A platform whose edge is as the test says, and who is told of it."""

    def __init__(
        self, folder: Path, targets: dict[str, AlertTargetSettings], mail: Kept | None = None
    ) -> None:
        self.clock = HeldClock()
        self.edge = UP
        self.file = folder / "alerts.json"
        relay = mail and _mail_settings(mail)
        self.settings = msgspec.structs.replace(
            load_settings(EXAMPLE), alerts=AlertSettings(targets=targets), mail=relay
        )
        self.begin()

    def begin(self) -> None:
        """The keeper begins, or begins anew."""

        async def look() -> Look:
            return self.edge

        self.watch = Watch((Watched("edge", 1.0, look),), self.clock, lambda: self.clock.now().timestamp())
        self.alerting = Alerting(
            self.settings, self.file, self.watch, senders(self.settings, self.clock), self.clock
        )

    async def pass_seconds(self, seconds: int) -> None:
        """Look and tell once a second."""
        for _ in range(seconds):
            self.clock.advance(seconds=1)
            await self.watch.duties()[0].work()
            await self.alerting.look()
            await self.alerting.deliver()

    async def ask(self, action: str, **asked: object) -> dict[str, Any]:
        return await self.alerting.actions()[action](asked)


def _mail_settings(kept: Kept) -> MailSettings:
    relay = kept.relay
    return MailSettings(
        host=relay.host,
        port=relay.port,
        tls=relay.tls,
        sender=relay.sender,
        region="DE",
        ca=relay.ca,
        user=relay.user,
        password_file=relay.password_file,
    )


def hook(receiver: Receiver, **changes: Any) -> AlertTargetSettings:
    target = AlertTargetSettings(
        webhook=receiver.url, secret_file=receiver.secret_file, ca=receiver.ca, region="DE"
    )
    return msgspec.structs.replace(target, **changes)


@asynccontextmanager
async def house(folder: Path) -> AsyncGenerator[tuple[House, Receiver, Kept]]:
    """Told by webhook and by letter."""
    async with running_receiver(folder) as receiver, running_relay(folder) as kept:
        targets = {
            "night": hook(receiver),
            "team": AlertTargetSettings(mail="team@lindenhof.example", region="DE"),
        }
        yield House(folder, targets, kept), receiver, kept


def types(receiver: Receiver) -> list[str]:
    return [json.loads(one.body)["type"] for one in receiver.received]


async def test_a_test_alert_is_delivered_to_webhook_and_mailbox_and_proves_the_promise(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as (one, receiver, kept):
        told = await one.ask("alerts.test")
        assert [(row["target"], row["delivered"]) for row in told["tests"]] == [
            ("night", True),
            ("team", True),
        ]
        (request,) = receiver.received
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
        key = base64.b64decode(SECRET.strip().removeprefix(b"whsec_"))
        code = base64.b64encode(hmac.digest(key, signed + request.body, hashlib.sha256)).decode()
        assert request.headers["webhook-signature"] == f"v1,{code}"
        assert "This is a test" in text_of(kept.last())
        assert kept.recipients == ["team@lindenhof.example"]
        await one.pass_seconds(1)
        view = MonitoringView(one.watch.seen, one.alerting.told, one.alerting.test_within, one.clock.now)
        assert (await probe(view).look()).verdict == "proved"


async def test_a_fault_is_told_and_its_end_and_the_keepers_end_between_loses_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as (one, receiver, kept):
        await one.pass_seconds(1)
        assert types(receiver) == ["alert.test"], "the first test goes out by itself"
        one.edge = DOWN
        await one.pass_seconds(2)
        assert types(receiver)[1:] == ["alert.raised"]
        assert kept.last()["Subject"] == "[Residents] Alert: The edge does not answer"
        receiver.status = 503
        one.edge = UP
        await one.pass_seconds(32)
        assert "ended" in types(receiver)[-1]
        tried = len(receiver.received)
        assert 2 < tried < 10, "again, and not each second"
        one.begin()
        receiver.status = 204
        await one.pass_seconds(20)
        assert types(receiver)[tried:] == ["alert.ended"]
        ids = {request.headers["webhook-id"] for request in receiver.received[2:]}
        assert len(ids) == 1, "a repetition is known by its id"
        assert (await one.ask("alerts.list"))["targets"][0]["waiting"] == 0


async def test_a_test_that_is_not_taken_says_why_without_the_address_and_breaks_the_promise(
    tmp_path: Path,
) -> None:
    async with running_receiver(tmp_path) as receiver:
        receiver.status = 302
        one = House(tmp_path, {"night": hook(receiver)})
        (row,) = (await one.ask("alerts.test"))["tests"]
        assert (row["delivered"], row["problem"]) == (False, "it answered 302")
        view = MonitoringView(one.watch.seen, one.alerting.told, one.alerting.test_within, one.clock.now)
        assert (await probe(view).look()).verdict == "broken"
    one = House(tmp_path, {"night": hook(receiver)})
    (row,) = (await one.ask("alerts.test"))["tests"]
    assert not row["delivered"]
    assert "token" not in row["problem"]


async def test_a_receiver_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path) -> None:
    async with running_receiver(tmp_path) as receiver:
        one = House(tmp_path, {"night": hook(receiver, ca=None)})
        (row,) = (await one.ask("alerts.test"))["tests"]
        assert not row["delivered"]
        assert receiver.received == []


async def test_silences_are_kept_listed_ended_and_bounded(tmp_path: Path) -> None:
    async with running_receiver(tmp_path) as receiver:
        one = House(tmp_path, {"night": hook(receiver)})
        await one.ask("alerts.silence", pattern="edge.*", hours=1, reason="a change")
        one.begin()
        one.edge = DOWN
        await one.pass_seconds(5)
        listed = await one.ask("alerts.list")
        assert [row["silenced_until"] is not None for row in listed["alerts"]] == [True]
        assert listed["silences"][0]["reason"] == "a change"
        assert types(receiver) == ["alert.test"]
        await one.ask("alerts.unsilence", pattern="edge.*")
        await one.pass_seconds(1)
        assert types(receiver) == ["alert.test", "alert.raised"]
        for hours in (0, -1, 721, 1e300, "x", None):
            with pytest.raises(UsageError):
                await one.ask("alerts.silence", pattern="edge.*", hours=hours)
        with pytest.raises(UsageError):
            await one.ask("alerts.unsilence", pattern="nothing")


async def test_a_full_disk_keeps_nobody_from_being_told(tmp_path: Path) -> None:
    async with running_receiver(tmp_path) as receiver:
        one = House(tmp_path, {"night": hook(receiver)})
        one.alerting._file = tmp_path / "missing" / "alerts.json"  # pyright: ignore[reportPrivateUsage]
        await one.pass_seconds(1)
        assert types(receiver) == ["alert.test"]


async def test_without_targets_alerts_stand_and_a_test_says_what_to_write(tmp_path: Path) -> None:
    one = House(tmp_path, {})
    one.edge = DOWN
    await one.pass_seconds(3)
    assert [row["key"] for row in (await one.ask("alerts.list"))["alerts"]] == ["edge.down"]
    with pytest.raises(PlatformError, match="nobody"):
        await one.ask("alerts.test")


async def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "alerts.json").write_bytes(b"{")
    one = House(tmp_path, {})
    assert (await one.ask("alerts.list"))["alerts"] == []


async def test_a_secret_that_others_may_read_or_that_is_none_stops_the_start(tmp_path: Path) -> None:
    async with running_receiver(tmp_path) as receiver:
        settings = House(tmp_path, {"night": hook(receiver)}).settings
        receiver.secret_file.chmod(0o644)
        with pytest.raises(ConfigError, match="other users"):
            check_targets(settings)
        receiver.secret_file.chmod(0o600)
        receiver.secret_file.write_bytes(b"plain")
        with pytest.raises(ConfigError, match="whsec_") as caught:
            check_targets(settings)
        assert "plain" not in str(caught.value)
