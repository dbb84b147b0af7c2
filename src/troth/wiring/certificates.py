"""Every certificate of the platform: who holds one, from which trust domain, and when it is due."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec

from troth.core.ca import Authority, Leaf, LeafFiles, Subject, renew_at, write_leaf
from troth.core.clock import Clock, to_wire
from troth.core.state import State

TrustDomain = Literal[
    "public", "callers", "instances", "apps", "database", "database_clients", "consensus", "strangers"
]
"""Each is an authority of its own, so that a certificate for one purpose opens nothing else. `strangers`
is trusted by nobody: the probes hold its certificate to see that they are refused."""


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


class Certificates:
    """The platform's certificates on disk, in `State.run`, each key readable by its owner alone."""

    def __init__(self, state: State, lifetime: timedelta, clock: Clock) -> None:
        self._state = state
        self._lifetime = lifetime
        self._clock = clock
        self._authorities: dict[str, Authority] = {}
        self._held: dict[Holder, tuple[Leaf, LeafFiles]] = {}

    def ca(self, trust: TrustDomain) -> Path:
        """The file with the certificate of a trust domain's authority."""
        return self._authority(trust).certificate_file

    def issue(self, holder: Holder) -> LeafFiles:
        """Issue a certificate, replacing the one that the holder had, and keep it in mind for renewal."""
        leaf = self._authority(holder.trust).issue(
            Subject(
                common_name=holder.name,
                dns=holder.dns,
                addresses=holder.addresses,
                uri=f"spiffe://troth/{holder.trust}/{holder.name}",
                usage=holder.usage,
            ),
            now=self._clock.now(),
            lifetime=self._lifetime,
        )
        folder = self._state.run / "certificates" / holder.trust
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = write_leaf(leaf, folder, holder.name)
        self._held[holder] = (leaf, files)
        return files

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

    def report(self) -> tuple[Held, ...]:
        """Every certificate with the end of its life, the next to end first."""
        by_end = sorted(self._held.items(), key=lambda item: item[1][0].not_after)
        return tuple(Held(holder.trust, holder.name, to_wire(leaf.not_after)) for holder, (leaf, _) in by_end)

    def _authority(self, trust: TrustDomain) -> Authority:
        if trust not in self._authorities:
            now = self._clock.now()
            self._authorities[trust] = Authority.open(self._state.authorities, trust, now=now)
        return self._authorities[trust]
