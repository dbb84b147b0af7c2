"""Messages to people over SMTP: one relay, TLS required, headers that nothing typed can break out of."""

import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import aiosmtplib
import idna
import msgspec

from troth.access.accounts.messages import Written
from troth.access.accounts.people import is_plausible
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.errors import TrothError
from troth.core.secret import read_secret

_SECONDS = 20.0
"""For each answer of the relay."""


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages are handed in. `tls` is how the connection is secured; without it none is made. The
    password is read from its file each time, and kept nowhere."""

    host: str
    port: int
    sender: str
    tls: Literal["starttls", "tls"] = "starttls"
    ca: Path | None = None
    user: str = ""
    password_file: Path | None = None


class NotSent(TrothError):
    """`lasting` says that trying again is of no use. The reason holds no address: relays repeat them."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Mailer:
    """Hands messages to the relay, one connection each."""

    def __init__(self, relay: Relay, clock: Clock) -> None:
        self._relay = relay
        self._clock = clock
        # PROTOCOL_TLS_CLIENT: the relay's name and certificate are checked, TLS 1.2 at least.
        self._context = ssl.create_default_context(cafile=relay.ca)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    async def send(self, domain: Domain, order: UUID, to: str, written: Written) -> None:
        """Hand one message in. Raises NotSent."""
        try:
            message = compose(domain, self._relay.sender, order, to, written)
        except ValueError:
            raise NotSent("the address cannot be written to", lasting=True) from None
        await self.hand_in(message)

    async def hand_in(self, message: EmailMessage) -> None:
        """Hand a message in that is complete but for its date. Raises NotSent."""
        message["Date"] = format_datetime(self._clock.now())
        relay, secure = self._relay, self._relay.tls == "tls"
        password = read_secret(relay.password_file).reveal().strip() if relay.password_file else None
        try:
            await aiosmtplib.send(
                message,
                hostname=relay.host,
                port=relay.port,
                username=relay.user or None,
                password=password.decode() if password else None,
                use_tls=secure,
                start_tls=not secure,
                tls_context=self._context,
                timeout=_SECONDS,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _not_sent(error) from None


def compose(domain: Domain, sender: str, order: UUID, to: str, written: Written) -> EmailMessage:
    """The message, without a date. Raises ValueError when the address is none that can be written to."""
    message = EmailMessage(policy=SMTP_POLICY)
    message["Message-ID"] = f"<{order}@{domain.name}>"
    message["From"] = Address(_one_line(domain.policy.mail_name or domain.branding.name), addr_spec=sender)
    message["To"] = Address(addr_spec=_written_in_ascii(to))
    message["Subject"] = _one_line(written.subject)
    # RFC 3834: no vacation notice and no bounce of another program answers this.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(written.text)
    message.add_alternative(written.html, subtype="html")
    message["Content-Language"] = written.language
    return message


def _one_line(text: str) -> str:
    """Header injection: `email` refuses line breaks as well, but a name should not keep a message back."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _written_in_ascii(address: str) -> str:
    """The address with its domain in ASCII (IDNA 2008). Raises ValueError."""
    if not is_plausible(address):
        raise ValueError("not an address")
    local, _, host = address.rpartition("@")
    try:
        return f"{local}@{idna.encode(host, uts46=True).decode()}"
    except idna.IDNAError as error:
        raise ValueError("not a domain") from error


def _not_sent(error: Exception) -> NotSent:
    """5xx is the relay's last word about this message, save about who we are: that the operator can mend."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [one.code for one in error.recipients]
        return NotSent(f"recipient refused ({max(codes)})", lasting=all(code >= 500 for code in codes))
    if isinstance(error, aiosmtplib.SMTPResponseException) and not isinstance(
        error, aiosmtplib.SMTPAuthenticationError | aiosmtplib.SMTPConnectError
    ):
        return NotSent(f"the relay answered {error.code}", lasting=error.code >= 500)
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return NotSent("the relay does not support this address", lasting=True)
    return NotSent(f"the relay cannot be used ({type(error).__name__})", lasting=False)
