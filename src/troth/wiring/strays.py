"""What was seen to lead to no declared place: each destination of each program once."""

from datetime import datetime

import msgspec

from troth.data.residency_promise import Stray
from troth.hosting.outgoing import Outgoing

_MOST = 100


class Strays:
    """Remembers them; beyond a hundred, the one that was seen the longest ago is forgotten."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Stray] = {}

    def note(self, one: Outgoing, address: str, now: datetime) -> Stray | None:
        """The stray, if it was not known."""
        key = (one.process, one.protocol, address)
        known = self._known.get(key)
        if known is not None:
            self._known[key] = msgspec.structs.replace(known, last=now, pid=one.pid)
            return None
        if len(self._known) >= _MOST:
            self._known.pop(min(self._known, key=lambda old: self._known[old].last))
        stray = Stray(
            process=one.process, pid=one.pid, protocol=one.protocol, address=address, first=now, last=now
        )
        self._known[key] = stray
        return stray

    def since(self, instant: datetime) -> tuple[Stray, ...]:
        """Those that were seen after it; the others are forgotten."""
        self._known = {key: one for key, one in self._known.items() if one.last > instant}
        return tuple(self._known.values())

    def forget(self, address: str) -> None:
        """Whatever led there."""
        self._known = {key: one for key, one in self._known.items() if one.address != address}
