"""The drills of the access promises: each breaks its promise on purpose, as far as its probe can see.

Where the fault can be real without touching anybody, it is: a role given, a redirect registered, a sign-out
withheld, all for what was made for probing. Elsewhere the probe goes through a door with the fault.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from troth.access.faulty_door import (
    AnyToken,
    DeafSignOut,
    Defect,
    FaultyDoor,
    cookie_for_every_domain,
    cookie_for_scripts,
)
from troth.access.oauth.strict_client import ELSEWHERE
from troth.access.promises import (
    AccessView,
    probe_cookie_attributes,
    probe_cookie_domain,
    probe_oauth,
    probe_scopes,
    probe_sessions,
    probe_tokens,
)
from troth.core.promise import Drill, Finding, Probe

Look = Callable[[AccessView], Awaitable[Finding]]
Block = AbstractAsyncContextManager[None]


class Defects(msgspec.Struct, frozen=True):
    """Real faults in what was made for probing, each for as long as its block lasts: `promote` gives the
    outsider the member's role, `register` gives the probes' client another redirect URI."""

    promote: Callable[[], Block]
    register: Callable[[str], Block]


def drills(view: AccessView, defects: Defects) -> tuple[Drill, ...]:
    """The drills of this room."""
    return (
        Drill(
            "access.scopes",
            "an account without scopes was given a role",
            lambda: _while("access.scopes", defects.promote(), probe_scopes, view),
        ),
        Drill(
            "access.oauth",
            "a foreign redirect was registered for a client",
            lambda: _while("access.oauth", defects.register(ELSEWHERE), probe_oauth, view),
        ),
        Drill(
            "access.tokens",
            "any token was taken for a good one",
            lambda: _through("access.tokens", AnyToken(), probe_tokens, view),
        ),
        Drill(
            "access.sessions",
            "signing out ended nothing",
            lambda: _without_sign_out(view),
        ),
        Drill(
            "access.cookies_http_only",
            "the cookie came without HttpOnly",
            lambda: _through("access.cookies_http_only", cookie_for_scripts, probe_cookie_attributes, view),
        ),
        Drill(
            "access.cookies_domain",
            "a cookie opened its session on every domain",
            lambda: _through(
                "access.cookies_domain",
                cookie_for_every_domain(view.member.domain),
                probe_cookie_domain,
                view,
            ),
        ),
    )


@asynccontextmanager
async def _while(promise: str, block: Block, look: Look, view: AccessView) -> AsyncGenerator[Probe]:
    async with block:
        yield Probe(promise, lambda: look(view))


@asynccontextmanager
async def _through(promise: str, defect: Defect, look: Look, view: AccessView) -> AsyncGenerator[Probe]:
    yield Probe(promise, lambda: look(_behind(view, defect)))


@asynccontextmanager
async def _without_sign_out(view: AccessView) -> AsyncGenerator[Probe]:
    deaf = DeafSignOut()
    try:
        yield Probe("access.sessions", lambda: probe_sessions(_behind(view, deaf)))
    finally:
        async with view.visitor() as visitor:
            await deaf.really_sign_out(visitor)


def _behind(view: AccessView, defect: Defect) -> AccessView:
    return msgspec.structs.replace(view, visitor=lambda: FaultyDoor(view.face, defect))
