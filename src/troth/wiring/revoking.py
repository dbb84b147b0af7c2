"""Taking a stolen client certificate back: its trust domain changes its authority, see `core.trust`.

The holder, and everybody else of its trust domain, gets a new certificate at once; listeners then stop
trusting the former authority, and connections that the stolen one may have opened are ended. Which part has
to be told what, and in which order nobody good is ever refused, is known here.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from troth.core.clock import Clock, to_wire
from troth.core.errors import UsageError
from troth.hosting.plan import Action
from troth.wiring.certificates import REVOCABLE, Certificates, TrustDomain
from troth.wiring.database import DatabasePart
from troth.wiring.services import ServicesPart

_log = logging.getLogger(__name__)


class Revoking:
    """Lists certificates and revokes them, one at a time."""

    def __init__(
        self, certificates: Certificates, database: DatabasePart, services: ServicesPart, clock: Clock
    ) -> None:
        self._certificates = certificates
        self._database = database
        self._services = services
        self._clock = clock
        self._one = asyncio.Lock()

    def actions(self) -> dict[str, Action]:
        """For the keeper's control socket."""
        return {"certificates.list": self._list, "certificates.revoke": self._revoke}

    async def _list(self, _: dict[str, object]) -> dict[str, object]:
        serials = self._certificates.serials()
        return {
            "certificates": [
                {
                    "trust": one.trust,
                    "name": one.name,
                    "serial": serials[one.trust, one.name],
                    "not_after": one.not_after,
                    "revocable": one.trust in REVOCABLE,
                }
                for one in self._certificates.report()
            ]
        }

    async def _revoke(self, asked: dict[str, object]) -> dict[str, object]:
        """Raises UsageError when it is nobody's, or a server's."""
        trust = self._find(str(asked.get("what", "")))
        async with self._one:
            began = time.monotonic()
            ended = await self._ways()[trust](trust)
        seconds = round(time.monotonic() - began, 1)
        names = sorted(one.name for one in self._certificates.holders(lambda one: one.trust == trust))
        _log.warning("the certificates of %s were revoked after %.1f s; new ones are in use", trust, seconds)
        return {
            "trust": trust,
            "renewed": names,
            "ended": ended,
            "seconds": seconds,
            "at": to_wire(self._clock.now()),
        }

    def _find(self, what: str) -> TrustDomain:
        trust = self._certificates.trust_of(what)
        if trust is None:
            raise UsageError(
                f"No certificate in use is {what[:100]!r}, or two of different kinds are.",
                hint="See `troth certificates list`; name a serial number, TRUST/NAME, or a trust domain: "
                f"{', '.join(REVOCABLE)}.",
            )
        if trust not in REVOCABLE:
            raise UsageError(
                f"{what[:100]!r} is a certificate of {trust}, which no client shows.",
                hint=f"Only those of clients can be revoked: {', '.join(REVOCABLE)}. A server's ends "
                "by itself; after `troth down` and `troth up` each has a new one.",
            )
        return trust

    def _ways(self) -> dict[TrustDomain, Callable[[TrustDomain], Awaitable[int]]]:
        return {
            "callers": self._change_callers,
            "apps": self._change_apps,
            "database_clients": self._change_database_clients,
            "consensus": self._change_consensus,
        }

    async def _change_callers(self, trust: TrustDomain) -> int:
        """The edge shows its new certificate before an instance comes that knows only that. With each old
        instance every connection to it ends."""
        self._certificates.replace_authority(trust)
        await self._services.reload_edge()
        self._certificates.drop_former(trust)
        return await self._services.replace_instances()

    async def _change_apps(self, trust: TrustDomain) -> int:
        """An application may have read its certificate once, when it started: new instances first. The edge
        ends its old listener's connections within its grace of ten seconds."""
        self._certificates.replace_authority(trust)
        ended = await self._services.replace_instances(applications=True)
        self._certificates.drop_former(trust)
        await self._services.reload_edge()
        return ended

    async def _change_database_clients(self, trust: TrustDomain) -> int:
        """All who connect read their files anew each time, so the former authority goes at once. Pools notice
        within a second; whatever still stands afterwards is ended."""
        self._certificates.replace_authority(trust)
        self._certificates.drop_former(trust)
        await self._database.follow_authorities()
        return await self._database.end_outlived(patiently=True)

    async def _change_consensus(self, trust: TrustDomain) -> int:
        """Patroni and etcd read whom they trust when they begin to listen. While etcd starts again, members
        keep their roles, and nothing is written that it would have to agree to."""
        self._certificates.replace_authority(trust)
        self._certificates.drop_former(trust)
        await self._database.follow_authorities(anew=True)
        await self._database.restart_consensus()
        return 1
