"""`/account/sessions`: where a person is signed in, what they connected, and how to end each of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.access.own_sessions import OwnSession, OwnSessions
from troth.access.scopes import scope_set
from troth.access.sessions import Session
from troth.access.tenants import Domain
from troth.core.errors import Malformed, NotFound
from troth.web.account.device import describe_agent
from troth.web.account.layout import AccountServices, account_page, go, render
from troth.web.answers import request_id
from troth.web.catalogue import Words, sentences
from troth.web.cookies import clear_cookie
from troth.web.forms import once, read_form, read_query
from troth.web.language import words_of
from troth.web.login import login_location

HERE = "/account/sessions"


class SessionPageServices(AccountServices, Protocol):
    """What these pages need besides."""

    @property
    def own_sessions(self) -> OwnSessions: ...
    @property
    def collection_titles(self) -> Mapping[str, str]: ...


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the page shows it."""

    id: UUID
    device: str
    place: str
    domain: str
    begun: str
    used: str
    current: bool


def routes(services: SessionPageServices) -> list[Route]:
    """The routes of this page and its forms."""
    pages = SessionPages(services)
    return [
        Route("/account", account_page(services, pages.enter), methods=["GET"]),
        Route(HERE, account_page(services, pages.show), methods=["GET"]),
        Route(f"{HERE}/end", account_page(services, pages.end), methods=["POST"]),
        Route(f"{HERE}/end-others", account_page(services, pages.end_others), methods=["POST"]),
        Route(f"{HERE}/end-everywhere", account_page(services, pages.end_everywhere), methods=["POST"]),
        Route("/account/applications/disconnect", account_page(services, pages.disconnect), methods=["POST"]),
    ]


class SessionPages:
    """The handlers."""

    def __init__(self, services: SessionPageServices) -> None:
        self._services = services
        self._own = services.own_sessions

    async def enter(self, request: Request, domain: Domain, session: Session) -> Response:
        """The first page of an account."""
        return go(HERE)

    async def show(self, request: Request, domain: Domain, session: Session) -> Response:
        """Everything that is open at the moment."""
        words = words_of(request)
        own = await self._own.sessions(domain, session)
        grants = await self._own.grants(domain, session)
        done = once(read_query(request)).get("done", "")
        return render(
            self._services,
            request,
            domain,
            "account_sessions.html",
            rows=[row_of(one, words) for one in own],
            others=any(not one.current for one in own),
            fresh=self._own.is_fresh(domain, session),
            grants=[
                (grant, sentences(scope_set(grant.scopes), self._services.collection_titles, words))
                for grant in grants
            ],
            done=done if done in ("ended", "disconnected") else "",
        )

    async def end(self, request: Request, domain: Domain, session: Session) -> Response:
        """End one session; one's own as well, which is a sign-out."""
        target = await _read_id(request)
        if target != session.id and not self._own.is_fresh(domain, session):
            return _prove_it_first()
        if not await self._own.end(domain, session, target, request=request_id(request)):
            raise NotFound("This session is over already.")
        return _signed_out() if target == session.id else go(f"{HERE}?done=ended")

    async def end_others(self, request: Request, domain: Domain, session: Session) -> Response:
        """End all but this one."""
        if not self._own.is_fresh(domain, session):
            return _prove_it_first()
        await self._own.end_others(domain, session, request=request_id(request))
        return go(f"{HERE}?done=ended")

    async def end_everywhere(self, request: Request, domain: Domain, session: Session) -> Response:
        """Sign out everywhere, here too."""
        if not self._own.is_fresh(domain, session):
            return _prove_it_first()
        await self._own.end_everywhere(domain, session, request=request_id(request))
        return _signed_out()

    async def disconnect(self, request: Request, domain: Domain, session: Session) -> Response:
        """End what one application was granted. It only takes access away, so no proof is asked for."""
        target = await _read_id(request)
        grants = await self._own.grants(domain, session)
        if all(grant.id != target for grant in grants):
            raise NotFound("This application is not connected any more.")
        await self._own.end(domain, session, target, request=request_id(request))
        return go(f"{HERE}?done=disconnected")


async def _read_id(request: Request) -> UUID:
    text = once(await read_form(request)).get("id", "")
    try:
        return UUID(text)
    except ValueError:
        raise Malformed("The form names no session.") from None


def _prove_it_first() -> Response:
    return go(login_location(HERE, again=True))


def _signed_out() -> Response:
    response = go("/login?signed_out=1")
    clear_cookie(response)
    return response


def row_of(session: OwnSession, words: Words) -> Row:
    """What the page says of a session."""
    return Row(
        id=session.id,
        device=describe_agent(session.whereabouts.agent, words),
        place=session.whereabouts.network,
        domain=session.domain,
        begun=_instant(session.created_at),
        used=_instant(session.seen_at),
        current=session.current,
    )


def _instant(at: datetime) -> str:
    """UTC, spelled so that English and German readers read the same day."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
