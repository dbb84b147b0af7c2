"""A mail relay on this machine: real SMTP over real TLS, that keeps what it is handed."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from troth.access.accounts.mail import Relay
from troth.core.ca import Authority, Subject, write_leaf
from troth.core.secret import write_secret
from troth.hosting.ports import free_ports

USER, PASSWORD = "troth", "relay password"


class Kept:
    """What was handed in, oldest first; `refuse` is answered instead of taking a message."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.refuse = ""

    async def handle_RCPT(  # noqa: N802  aiosmtpd finds it by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse.startswith("rcpt "):
            return self.refuse.removeprefix("rcpt ")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse:
            return self.refuse
        assert session.authenticated or not self.relay.user
        content = envelope.content
        assert isinstance(content, bytes)
        parsed = message_from_bytes(content, policy=default)
        assert isinstance(parsed, EmailMessage)
        self.messages.append(parsed)
        self.recipients += envelope.rcpt_tos
        return "250 taken"

    def last(self) -> EmailMessage:
        return self.messages[-1]


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """Its plain text, or its HTML."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def link_in(message: EmailMessage) -> str:
    """The one link of a message, as a path."""
    links = {word for word in text_of(message).split() if word.startswith("https://")}
    assert len(links) == 1, links
    return "/" + links.pop().split("/", 3)[3]


def _authenticate(server: SMTP, session: Session, envelope: Envelope, kind: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=good)


@asynccontextmanager
async def running_relay(folder: Path, *, implicit: bool = False) -> AsyncGenerator[Kept]:
    """A relay that demands STARTTLS and a password, or speaks TLS from the first byte."""
    now = datetime.now(UTC)
    authority = Authority.open(folder, "relay", now=now)
    subject = Subject(common_name="localhost", dns=("localhost",), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), folder, "relay-leaf")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.certificate, leaf.key)
    write_secret(folder / "mail.password", PASSWORD.encode() + b"\n")
    port = free_ports(1)[0]
    relay = Relay(
        host="localhost",
        port=port,
        sender="no-reply@lindenhof.example",
        tls="tls" if implicit else "starttls",
        ca=authority.certificate_file,
        user="" if implicit else USER,
        password_file=None if implicit else folder / "mail.password",
    )
    kept = Kept(relay)

    controller = Controller(
        kept,
        hostname="localhost",
        port=port,
        ssl_context=context if implicit else None,
        tls_context=None if implicit else context,
        require_starttls=not implicit,
        auth_required=not implicit,
        authenticator=_authenticate,
    )
    controller.start()
    try:
        yield kept
    finally:
        controller.stop()
