"""How an alert reads: as JSON for a webhook, signed, and as text for a person.

The webhook follows Standard Webhooks 1.0 (standardwebhooks.com): the headers webhook-id, webhook-timestamp
and webhook-signature, the latter `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime, timedelta

import msgspec

from troth.core.clock import to_wire
from troth.core.secret import Secret
from troth.hosting.watch.book import Alert, Event, Message

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets of Standard Webhooks begin with
SECRET_BYTES = (24, 64)
"""The length that Standard Webhooks asks for."""

_TITLES: dict[Event, str] = {
    "raised": "Alert",
    "escalated": "Alert, still standing",
    "repeated": "Alert, still standing",
    "ended": "Over",
    "test": "Test",
}


class AlertBody(msgspec.Struct, frozen=True, kw_only=True):
    """The alert in a webhook's body. Times are RFC 3339."""

    key: str
    rule: str
    severity: str
    summary: str
    since: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook: `type` is `alert.raised`, `alert.ended`, …."""

    type: str
    timestamp: str
    platform: str
    alert: AlertBody


class Text(msgspec.Struct, frozen=True):
    """A message to a person."""

    subject: str
    text: str


def read_webhook_secret(text: Secret) -> Secret:
    """The key in a secret's file: `whsec_` and base64 of 24 to 64 bytes. Raises ValueError."""
    written = text.reveal().strip()
    if not written.startswith(SECRET_PREFIX.encode()):
        raise ValueError(f"it does not begin with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(written[len(SECRET_PREFIX) :], validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None
    if not SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1]:
        raise ValueError(f"it holds {len(key)} bytes, not {SECRET_BYTES[0]} to {SECRET_BYTES[1]}")
    return Secret(key)


def write_body(platform: str, message: Message) -> bytes:
    """The JSON that is signed and sent."""
    alert = message.alert
    told = AlertBody(
        key=alert.key,
        rule=alert.rule,
        severity=alert.severity,
        summary=alert.words,
        since=to_wire(alert.since),
    )
    return msgspec.json.encode(
        Body(type=f"alert.{message.event}", timestamp=to_wire(message.at), platform=platform, alert=told)
    )


def sign(key: Secret, identifier: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a signed webhook. `at` is the time of this attempt: receivers refuse old ones."""
    seconds = str(int(at.timestamp()))
    signed = b".".join((identifier.encode(), seconds.encode(), body))
    code = hmac.new(key.reveal(), signed, hashlib.sha256).digest()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(code).decode()}",
    }


def write_text(platform: str, message: Message) -> Text:
    """Subject and text of an e-mail."""
    alert = message.alert
    lines = [
        f"{alert.words}.",
        "",
        f"Platform:  {platform}",
        f"Severity:  {alert.severity}",
        f"Key:       {alert.key}",
        f"Since:     {to_wire(alert.since)}",
        f"Told at:   {to_wire(message.at)}",
    ]
    if message.event == "ended":
        lines.append(f"It lasted:  {_lasting(message.at - alert.since)}")
    elif message.event != "test":
        lines += ["", f"To silence it for an hour: troth alerts silence '{alert.key}' --hours 1"]
    return Text(f"[{platform}] {_TITLES[message.event]}: {alert.words}", "\n".join(lines) + "\n")


def test_alert(now: datetime) -> Alert:
    """What is sent to see that alerts arrive."""
    return Alert(
        key="test",
        rule="test",
        severity="warning",
        words="This is a test: alerts of this platform reach you",
        since=now,
        raised=now,
    )


def _lasting(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"
