"""Which requests an instance takes when more come than it can carry: fairly, and never a queue without end.

An instance is one event loop: whatever waits for its answer there waits for all before it. So the number of
those is bounded. Beyond the bound, and for who has more than a fair share a little before, the answer is 503
at once, with the time after which to come again; what is refused costs almost nothing.

While the loop computes without a pause, requests wait in the server before it, where nobody counts them. The
edge says when it passed each one on, and those that come in late are thinned out in the same way.
"""

from collections import Counter, deque

import msgspec

from troth.hosting.streams import Message, Send

MOST_WAITING = 128
"""Requests that may wait for their answer at one instance. At a few milliseconds each, the last waits for
less than a second."""

LATE_SECONDS = 2.0
"""Between the edge and the application; longer is a queue that nobody counts."""

PASSED_HEADER = b"x-troth-passed"
"""When the edge passed a request on, in milliseconds since 1970; it replaces what others say."""

_MOST_LATE = 64
"""Late requests within LATE_SECONDS that are served all the same: a machine that stood still for a moment is
no flood."""

_NOT_CREDIBLE_SECONDS = 60.0
"""The edge waits less: a clock was set meanwhile."""

_OPEN_TO_ALL = 0.75
"""While less than this part of the places is taken, nobody's share is looked at."""

_RETRY_SECONDS = 3
_CLOCK_DIGITS = 16

_PAGE = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>Too busy</title>'
    b'<meta name="viewport" content="width=device-width"><h1>Too many people are here right now.</h1>'
    b"<p>Please try again in a few seconds.</p></html>"
)
_PROBLEM = msgspec.json.encode(
    {
        "type": "urn:troth:problem:busy",
        "title": "Too much to do right now",
        "status": 503,
        "detail": "Nothing was done. Send the request again after the time in Retry-After.",
        "code": "busy",
    }
)


class Places:
    """The places of an instance, and who takes them: `party` is a client domain, so a tenant."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._taken: dict[str, int] = {}
        self.waiting = 0
        self.refused = 0

    def take(self, party: str) -> bool:
        """Whether there is a place for one more request of this party; one that was taken is given back.

        The last quarter is kept for parties with less than a fair share, so that a flood for one domain is
        felt by that domain alone: whoever else comes finds a place.
        """
        own = self._taken.get(party, 0)
        parties = len(self._taken) + (not own)
        fair = own < max(1.0, self._most / (parties + 1 / 3))
        if self.waiting >= self._most or not (fair or self.waiting < self._most * _OPEN_TO_ALL):
            self.refused += 1
            return False
        self._taken[party] = own + 1
        self.waiting += 1
        return True

    def give_back(self, party: str) -> None:
        """The answer has begun, or will never come."""
        self.waiting -= 1
        own = self._taken.pop(party) - 1
        if own:
            self._taken[party] = own


class Latecomers:
    """The requests that came in late in the last moments, and for whom."""

    def __init__(self, most: int = _MOST_LATE) -> None:
        self._most = most
        self._seen: deque[tuple[float, str]] = deque()
        self._of: Counter[str] = Counter()

    def admit(self, party: str, waited: float, now: float) -> bool:
        """Whether to take a request that waited so many seconds; `now` is monotonic. Of more late ones than
        may be, a party with less than a fair share of them is served, for it did not make the queue."""
        self._forget(now - LATE_SECONDS)
        if not LATE_SECONDS < waited < _NOT_CREDIBLE_SECONDS:
            return True
        self._seen.append((now, party))
        self._of[party] += 1
        if len(self._seen) <= self._most:
            return True
        return self._of[party] < len(self._seen) / (len(self._of) + 1 / 3)

    def _forget(self, before: float) -> None:
        while self._seen and self._seen[0][0] <= before:
            _, party = self._seen.popleft()
            self._of[party] -= 1
            if not self._of[party]:
                del self._of[party]


def waited(scope: Message, now: float) -> float:
    """Seconds since the edge passed this request on, 0 when that is not said; `now` is seconds since 1970."""
    said = next((value for name, value in scope["headers"] if name == PASSED_HEADER), b"")
    return now - int(said) / 1000 if said.isdigit() and len(said) < _CLOCK_DIGITS else 0.0


def party_of(scope: Message) -> str:
    """The client domain that a request is for; the edge lets nothing pass that names another."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return host.decode("latin-1").lower().rsplit(":", 1)[0]


async def refuse(scope: Message, send: Send, number: int) -> None:
    """503, for a person or for a program. `number` counts refusals: those who were refused together are not
    all told to come again together."""
    accepts = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    for_a_person = b"text/html" in accepts and scope["method"] in ("GET", "HEAD")
    body = _PAGE if for_a_person else _PROBLEM
    headers = [
        (b"content-type", b"text/html; charset=utf-8" if for_a_person else b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"retry-after", str(1 + number % _RETRY_SECONDS).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
