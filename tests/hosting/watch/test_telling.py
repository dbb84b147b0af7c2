"""The webhook's signature against a vector of Standard Webhooks, and how an alert reads."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from troth.core.secret import Secret
from troth.hosting.watch.book import Message
from troth.hosting.watch.telling import read_webhook_secret, sign, write_body, write_text
from troth.hosting.watch.telling import test_alert as a_test

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = Secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")


def test_the_signature_is_that_of_the_standards_own_libraries() -> None:
    """The vector that the libraries of Standard Webhooks carry in their tests."""
    headers = sign(
        read_webhook_secret(SECRET),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("written", [b"secret", b"whsec_%%%", b"whsec_c2hvcnQ=", b"whsec_" + b"A" * 200])
def test_a_secret_that_is_none_is_refused_without_being_shown(written: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        read_webhook_secret(Secret(written))
    assert written.decode() not in str(caught.value)


def test_a_body_names_the_event_and_the_alert() -> None:
    body = json.loads(
        write_body("Residents", Message(target="night", event="raised", alert=a_test(NOW), at=NOW))
    )
    assert body["type"] == "alert.raised"
    assert body["platform"] == "Residents"
    assert body["alert"]["key"] == "test"
    assert body["alert"]["since"] == "2026-11-25T12:00:00.000Z"


def test_a_letter_says_how_to_silence_and_at_the_end_how_long_it_lasted() -> None:
    alert = msgspec.structs.replace(a_test(NOW), key="instance.down/web/web-1", words="It is down")
    raised = write_text("Residents", Message(target="n", event="raised", alert=alert, at=NOW))
    assert raised.subject == "[Residents] Alert: It is down"
    assert "troth alerts silence 'instance.down/web/web-1'" in raised.text
    over = Message(target="n", event="ended", alert=alert, at=NOW + timedelta(seconds=75))
    assert "1 min 15 s" in write_text("Residents", over).text
