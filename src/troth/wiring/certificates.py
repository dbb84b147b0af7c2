"""Every certificate of the platform: who holds one, from which trust domain, and when it is due."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.ca import Authority, Leaf, LeafFiles, Subject, read_certificate, renew_at, write_leaf
from troth.core.clock import Clock, to_wire
from troth.core.state import State
from troth.core.trust import Trust

TrustDomain = Literal[
    "public", "callers", "instances", "apps", "database", "database_clients", "consensus", "strangers"
]
"""Each is an authority of its own, so that a certificate for one purpose opens nothing else. `strangers`
is trusted by nobody: the probes hold its certificate to see that they are refused."""

REVOCABLE: tuple[TrustDomain, ...] = ("callers", "apps", "database_clients", "consensus")
"""Where clients show certificates: each has an authority in reserve, see `core.trust`."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to have a certificate: unique by `trust` and `name`."""

    trust: TrustDomain
    name: str
    usage: Literal["server", "client", "both"]
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ("127.0.0.1",)


class Held(msgspec.Struct, frozen=True):
    """A certificate as `troth status` shows it."""

    trust: str
    name: str
    not_after: str


class _Issued(msgspec.Struct, frozen=True):
    """A certificate that was issued, whether or not another has replaced it."""

    trust: TrustDomain
    name: str
    not_after: datetime


class Certificates:
    """The platform's certificates on disk, in `State.run`, each key readable by its owner alone."""

    def __init__(self, state: State, lifetime: timedelta, clock: Clock) -> None:
        self._state = state
        self._lifetime = lifetime
        self._clock = clock
        self._authorities: dict[str, Authority] = {}
        self._trusts: dict[str, Trust] = {}
        self._held: dict[Holder, tuple[Leaf, LeafFiles]] = {}
        self._issued: dict[int, _Issued] = {}

    def ca(self, trust: TrustDomain) -> Path:
        """The file with the authorities of a trust domain that count: one, or one and its reserve."""
        if trust in REVOCABLE:
            return self._trust(trust).trusted
        return self._authority(trust).certificate_file

    def issue(self, holder: Holder) -> LeafFiles:
        """Issue a certificate, replacing the one that the holder had, and keep it in mind for renewal."""
        leaf = self._authority(holder.trust).issue(
            _subject(holder), now=self._clock.now(), lifetime=self._lifetime
        )
        folder = self._state.run / "certificates" / holder.trust
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = write_leaf(leaf, folder, holder.name)
        self._hold(holder, leaf, files)
        return files

    def obtain(self, holder: Holder) -> LeafFiles:
        """What an earlier keeper issued to the holder, if it is still good; else like `issue`. Whoever took
        that up meanwhile goes on with it, and it falls due when it would have."""
        kept = self._kept(holder)
        if kept is None:
            return self.issue(holder)
        self._hold(holder, *kept)
        return kept[1]

    def is_kept(self, holder: Holder) -> bool:
        """Whether `obtain` would find what an earlier keeper issued."""
        return self._kept(holder) is not None

    def files(self, holder: Holder) -> LeafFiles:
        """Where the holder's certificate lies. Raises KeyError when none was issued."""
        return self._held[holder][1]

    def forget(self, holder: Holder) -> None:
        """Renew this holder's certificate no more and remove its files."""
        _, files = self._held.pop(holder)
        files.certificate.unlink(missing_ok=True)
        files.key.unlink(missing_ok=True)

    def holders(self, matching: Callable[[Holder], bool]) -> tuple[Holder, ...]:
        """Everybody who holds a certificate and matches."""
        return tuple(holder for holder in self._held if matching(holder))

    def due(self, matching: Callable[[Holder], bool]) -> tuple[Holder, ...]:
        """The holders whose certificate is past two thirds of its life."""
        now = self._clock.now()
        return tuple(
            holder
            for holder, (leaf, _) in self._held.items()
            if matching(holder) and renew_at(leaf.certificate_pem, now) <= now
        )

    def living(self, trust: TrustDomain) -> frozenset[int]:
        """The serial numbers of a trust domain that are good now: replaced ones too, until they end."""
        self._forget_ended()
        return frozenset(serial for serial, one in self._issued.items() if one.trust == trust)

    def trust_of(self, what: str) -> TrustDomain | None:
        """Whose certificate is meant by a serial number (hexadecimal), a holder's name, or a trust domain's;
        None when it is nobody's, or two trust domains' at once."""
        self._forget_ended()
        found: set[TrustDomain]
        plain = what.replace(":", "").lower()
        found = {
            one.trust
            for serial, one in self._issued.items()
            if what in (one.name, f"{one.trust}/{one.name}", one.trust) or plain == f"{serial:x}"
        }
        return found.pop() if len(found) == 1 else None

    def replace_authority(self, trust: TrustDomain) -> tuple[Holder, ...]:
        """Let the reserve sign, and issue every holder a new certificate of it. The former authority stays
        trusted until `drop_former`: holders first take up what is new."""
        self._trust(trust).promote(self._clock.now())
        self._issued = {serial: one for serial, one in self._issued.items() if one.trust != trust}
        holders = self.holders(lambda one: one.trust == trust)
        for holder in holders:
            self.issue(holder)
        return holders

    def drop_former(self, trust: TrustDomain) -> None:
        """Trust the former authority no more. Whoever checks certificates has to read `ca` again."""
        self._trust(trust).drop_former()

    def report(self) -> tuple[Held, ...]:
        """Every certificate with the end of its life, the next to end first."""
        by_end = sorted(self._held.items(), key=lambda item: item[1][0].not_after)
        return tuple(Held(holder.trust, holder.name, to_wire(leaf.not_after)) for holder, (leaf, _) in by_end)

    def serials(self) -> dict[tuple[str, str], str]:
        """The serial number, in hexadecimal, of the certificate that each trust domain's holder has."""
        return {
            (holder.trust, holder.name): f"{read_certificate(leaf.certificate_pem).serial:x}"
            for holder, (leaf, _) in self._held.items()
        }

    def _authority(self, trust: TrustDomain) -> Authority:
        if trust in REVOCABLE:
            return self._trust(trust).authority
        if trust not in self._authorities:
            now = self._clock.now()
            self._authorities[trust] = Authority.open(self._state.authorities, trust, now=now)
        return self._authorities[trust]

    def _trust(self, trust: TrustDomain) -> Trust:
        if trust not in self._trusts:
            self._trusts[trust] = Trust.open(self._state.authorities, trust, now=self._clock.now())
        return self._trusts[trust]

    def _kept(self, holder: Holder) -> tuple[Leaf, LeafFiles] | None:
        folder = self._state.run / "certificates" / holder.trust
        files = LeafFiles(folder / f"{holder.name}.pem", folder / f"{holder.name}.key")
        leaf = self._authority(holder.trust).read_leaf(files, _subject(holder), now=self._clock.now())
        return (leaf, files) if leaf is not None else None

    def _hold(self, holder: Holder, leaf: Leaf, files: LeafFiles) -> None:
        self._held[holder] = (leaf, files)
        serial = read_certificate(leaf.certificate_pem).serial
        self._forget_ended()
        self._issued[serial] = _Issued(holder.trust, holder.name, leaf.not_after)

    def _forget_ended(self) -> None:
        now = self._clock.now()
        self._issued = {serial: one for serial, one in self._issued.items() if one.not_after > now}


def _subject(holder: Holder) -> Subject:
    return Subject(
        common_name=holder.name,
        dns=holder.dns,
        addresses=holder.addresses,
        uri=f"spiffe://troth/{holder.trust}/{holder.name}",
        usage=holder.usage,
    )
