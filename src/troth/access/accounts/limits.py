"""Slowing down who guesses passwords, without locking out the person whose password is guessed.

Every try is counted in the database before its password is looked at (`troth.try_sign_in`). Strangers share
a budget for each account, each network and each pair of the two, and wait longer with each try. A browser
that was signed in before, or a network where the account was, has a budget of its own.
"""

import hashlib
import ipaddress
from datetime import timedelta
from uuid import UUID

import msgspec

from troth.access.accounts.devices import Devices
from troth.access.accounts.people import EMAIL, normal_email
from troth.access.accounts.pool import Turn
from troth.access.errors import TooManyTries
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.db import Database

REMEMBERED = timedelta(days=90)
"""How long a network counts as one where the person was."""

NETWORK = "network"
"""Purpose of the keyed hashes under which networks are counted: their addresses are not kept."""


class Try(msgspec.Struct, frozen=True):
    """A sign-in that may go on. `stored` is what to check the password against; without `person` it is
    somebody else's, and no password fits."""

    account: bytes
    network: bytes | None
    pair: bytes | None
    device: bytes | None
    known: bool
    person: UUID | None
    stored: str | None
    disabled: bool

    @property
    def turn(self) -> Turn:
        return Turn.KNOWN if self.known else Turn.STRANGER


class Limits:
    """Counts tries and finds whose they are, in one round trip."""

    def __init__(self, database: Database, sealer: Sealer, devices: Devices) -> None:
        self._database = database
        self._sealer = sealer
        self._devices = devices

    async def begin(self, domain: Domain, email: str, *, address: str = "", device: str = "") -> Try:
        """Count a try. Raises TooManyTries when it comes too early, whether the account exists or not."""
        account = await self.account(domain, email)
        known = await self._devices.read(domain, email, device)
        network = await self.network(domain, address)
        pair = hashlib.sha256(account + network).digest() if network else None
        row = await self._database.fetchrow(
            "select * from troth.try_sign_in($1, $2, $3, $4, $5)",
            domain.name,
            account,
            network,
            pair,
            known,
            idempotent=False,
        )
        assert row is not None, "the function returns one row"
        if row["wait"] > 0:
            raise TooManyTries("Too many tries. Wait a moment and try again.", retry_after=row["wait"])
        return Try(
            account,
            network,
            pair,
            known,
            row["known"],
            row["id"],
            row["password_hash"],
            bool(row["disabled"]),
        )

    async def fitted(self, domain: Domain, tried: Try) -> None:
        """The password was right: the try counts against nobody, and the network is known from now on."""
        await self._database.execute(
            "select troth.sign_in_fitted($1, $2, $3, $4, $5, $6)",
            domain.name,
            # Only what was counted is taken back: a person who is known frees no budget of strangers.
            None if tried.known else tried.account,
            None if tried.known else tried.network,
            tried.pair,
            tried.device,
            REMEMBERED,
            idempotent=False,
        )

    async def account(self, domain: Domain, email: str) -> bytes:
        """Under what an address is counted, which is the index that its account would have."""
        text = normal_email(email).encode("utf-8", "surrogatepass")
        return await self._sealer.blind_index(domain.tenant_id, EMAIL, text)

    async def network(self, domain: Domain, address: str) -> bytes | None:
        """Under what a place in the network is counted; None when nobody knows where it is."""
        place = place_of(address)
        if not place:
            return None
        return await self._sealer.blind_index(domain.tenant_id, NETWORK, place.encode())


def place_of(address: str) -> str:
    """An IPv4 address itself, an IPv6 address without its last 64 bits: those its holder chooses freely."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
