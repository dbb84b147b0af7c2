"""Sending an alert to where troth.toml says: a signed webhook, or a message through the relay of [mail]."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY

import httpx

from troth.access.accounts.mail import Mailer, NotSent
from troth.core.clock import Clock
from troth.core.config import Settings
from troth.core.errors import ConfigError, PlatformError, TrothError
from troth.core.secret import read_secret
from troth.core.settings import AlertTargetSettings
from troth.hosting.watch.queue import Delivery
from troth.hosting.watch.telling import read_webhook_secret, sign, write_body, write_text
from troth.wiring.mailing import relay_of

_SECONDS = 10.0


class NotDelivered(TrothError):
    """The target did not take it. The reason names no address: many webhooks' hold a token."""


Send = Callable[[Delivery], Awaitable[None]]
"""Hands one message to its target. Raises NotDelivered."""


def senders(settings: Settings, clock: Clock) -> Mapping[str, Send]:
    """How each target is told. Raises ConfigError for a secret or an authority that cannot be used."""
    made: dict[str, Send] = {}
    check_targets(settings)
    for name, target in settings.alerts.targets.items():
        if target.webhook:
            made[name] = Webhook(settings.platform.name, target, clock).send
        elif settings.mail is not None:
            mailer = Mailer(relay_of(settings.mail), clock)
            made[name] = Letter(settings.platform.name, target.mail, settings.mail.sender, mailer).send
    return made


def check_webhook(settings: Settings, name: str, target: AlertTargetSettings) -> None:
    """Raises ConfigError when its secret or its authority is of no use: before anything starts."""
    key = f"alerts.targets.{name}.secret_file"
    try:
        assert target.secret_file is not None, "checked with the file"
        read_webhook_secret(read_secret(target.secret_file))
    except PlatformError as error:
        raise ConfigError(error.public, file=settings.file, key=key, hint=error.hint) from None
    except ValueError as error:
        hint = 'Make one: echo "whsec_$(head -c 32 /dev/urandom | base64)"'
        said = f"The secret of {name} cannot be used: {error}."
        raise ConfigError(said, file=settings.file, key=key, hint=hint) from None
    try:
        _trust(target)
    except (OSError, ssl.SSLError):
        key, hint = f"alerts.targets.{name}.ca", "Name a PEM file."
        raise ConfigError("This is no certificate.", file=settings.file, key=key, hint=hint) from None


def check_targets(settings: Settings) -> None:
    """Raises ConfigError for the first webhook whose secret or authority is of no use."""
    for name, target in settings.alerts.targets.items():
        if target.webhook:
            check_webhook(settings, name, target)


class Webhook:
    """One POST for each message. The secret is read from its file each time, and kept nowhere."""

    def __init__(self, platform: str, target: AlertTargetSettings, clock: Clock) -> None:
        self._platform, self._target, self._clock = platform, target, clock
        self._context = _trust(target)

    async def send(self, delivery: Delivery) -> None:
        """Taken is what is answered with 2xx within ten seconds; a redirect is no answer."""
        assert self._target.secret_file is not None, "checked with the file"
        try:
            key = read_webhook_secret(read_secret(self._target.secret_file))
        except (ValueError, PlatformError) as error:
            raise NotDelivered(f"its secret cannot be used: {error}") from None
        body = write_body(self._platform, delivery.message)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "troth",
            **sign(key, delivery.id, self._clock.now(), body),
        }
        try:
            async with (
                httpx.AsyncClient(verify=self._context, timeout=_SECONDS, trust_env=False) as client,
                # Streamed, and its body never read: a receiver must not make us hold what it says.
                client.stream("POST", self._target.webhook, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, OSError) as error:
            raise NotDelivered(f"it cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise NotDelivered(f"it answered {status}")


class Letter:
    """One e-mail for each message."""

    def __init__(self, platform: str, to: str, sender: str, mailer: Mailer) -> None:
        self._platform, self._to, self._sender, self._mailer = platform, to, sender, mailer

    async def send(self, delivery: Delivery) -> None:
        written = write_text(self._platform, delivery.message)
        message = EmailMessage(policy=SMTP_POLICY)
        message["Message-ID"] = f"<{delivery.id}@{self._sender.rpartition('@')[2]}>"
        message["From"] = Address(_one_line(self._platform), addr_spec=self._sender)
        message["To"] = Address(addr_spec=self._to)
        message["Subject"] = _one_line(written.subject)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834
        message.set_content(written.text)
        try:
            await self._mailer.hand_in(message)
        except NotSent as error:
            raise NotDelivered(error.public) from None


def _trust(target: AlertTargetSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _one_line(text: str) -> str:
    """Words of an alert may come from a program that failed: no line break of theirs begins a header."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:200]
