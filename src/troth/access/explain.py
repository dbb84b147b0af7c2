"""Why a call is allowed or denied: the chain from a person to a row, and the first link that is missing.

A call needs one scope. It is there when the person's roles give it, the client was registered for it, and it
was asked for (`access.scopes`); whose rows and which fields it reaches is the narrowest of the three.
"""

import re
from collections.abc import Mapping
from uuid import UUID

import msgspec

from troth.access.errors import NoSession
from troth.access.oauth.clients import Clients
from troth.access.scopes import ScopeSet, grant_for_client, grant_for_session, scope_set
from troth.access.sessions import Sessions
from troth.access.tenants import DomainDirectory
from troth.core.errors import NotFound
from troth.core.names import SESSION_CLIENT
from troth.core.scope import Action, Scope

ACTION_OF: dict[str, Action] = {
    "GET": "read",
    "HEAD": "read",
    "POST": "create",
    "PUT": "update",
    "PATCH": "update",
    "DELETE": "delete",
}

_CALL = re.compile(
    r"(?P<method>[A-Z]+) /api/v1/(?P<collection>[a-z][a-z0-9_]*)(?:/(?P<id>[0-9a-f-]{36}))?(?:\?\S*)?"
)


class Call(msgspec.Struct, frozen=True):
    """One call of the data API: an action on a collection, or on one document of it."""

    method: str
    collection: str
    document: UUID | None

    @property
    def action(self) -> Action:
        return ACTION_OF[self.method]

    @property
    def needed(self) -> str:
        """The scope that allows it everywhere."""
        return f"{self.collection}:{self.action}"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What the database holds of a person. `roles` are theirs, each with its scopes."""

    id: UUID
    name: str
    disabled: bool
    tenant_active: bool
    roles: Mapping[str, tuple[str, ...]]


class Application(msgspec.Struct, frozen=True):
    """A client and what it was registered for; `scopes` None is the domain's own application, which may do
    all that its person may."""

    id: str
    scopes: tuple[str, ...] | None
    disabled: bool = False


class Link(msgspec.Struct, frozen=True):
    """One link of the chain: what was looked at, what it says, and whether the call gets past it."""

    what: str
    says: str
    holds: bool


class Explanation(msgspec.Struct, frozen=True):
    """The whole chain. `hint` is what would mend the first missing link; empty when the call is allowed."""

    call: str
    needed: str
    allowed: bool
    links: tuple[Link, ...]
    hint: str = ""


class Denials:
    """Says of a denied call which link lacked the scope. Asked only after a refusal, so that it may cost a
    round trip or two."""

    def __init__(self, directory: DomainDirectory, sessions: Sessions, clients: Clients) -> None:
        self._directory = directory
        self._sessions = sessions
        self._clients = clients

    async def lacking(self, host: str, bearer: UUID, client: str, scope: str) -> str:
        """`person`, `client` or `asked`; nothing when the session, `bearer`, ended in the meantime."""
        try:
            domain = await self._directory.find(host)
            session = await self._sessions.open_by_id(domain, bearer)
        except (NoSession, NotFound):
            return ""
        registered = None
        if client != SESSION_CLIENT:
            found = await self._clients.find(domain, client)
            registered = found.scopes if found else ScopeSet()
        return lacking(scope, scope_set(session.person_scopes), registered)


def parse_call(text: str) -> Call:
    """Read `GET /api/v1/tickets/ID`. Raises ValueError with a sentence when it is no call of the data API."""
    match = _CALL.fullmatch(text.strip())
    if match is None or match["method"] not in ACTION_OF:
        raise ValueError(f"{text[:100]!r} is no call of the data API; write it like: GET /api/v1/tickets")
    return Call(match["method"], match["collection"], UUID(match["id"]) if match["id"] else None)


def explain(
    call: Call,
    person: Person | None,
    application: Application | None,
    asked: tuple[str, ...] = (),
    owner: UUID | None = None,
) -> Explanation:
    """Follow the chain link by link, to its end or to the first that is missing.

    `asked` is the scope that the client asks for (none: all it may); `owner` is whose the document is, None
    when there is no such document. Raises ValueError when a scope follows no grammar.
    """
    links: list[Link] = []
    hint = _follow(links, call, person, application, asked, owner)
    return Explanation(
        f"{call.method} {call.collection}{f'/{call.document}' if call.document else ''}",
        call.needed,
        not hint,
        tuple(links),
        hint,
    )


def _follow(
    links: list[Link],
    call: Call,
    person: Person | None,
    application: Application | None,
    asked: tuple[str, ...],
    owner: UUID | None,
) -> str:
    """The hint at the first missing link, or nothing."""
    # 1. Somebody who may sign in.
    if hint := _person(links, person):
        return hint
    assert person is not None
    # 2. A role of theirs gives the scope.
    of_roles = scope_set(scope for scopes in person.roles.values() for scope in scopes)
    if hint := _roles(links, call, person):
        return hint
    # 3. The client was registered for it.
    if hint := _registered(links, call, application):
        return hint
    assert application is not None
    # 4. It was asked for.
    wish = scope_set(asked)
    if asked and not _matching(wish.data, call):
        links.append(Link("What was asked for", " ".join(asked), False))
        return f"The client has to ask for {call.needed} in `scope`; it asks for {' '.join(asked)}."
    # 5. What is left of all three goes into the token.
    token = _token(wish, application, of_roles)
    reach = _matching(token, call)
    says = " ".join(map(str, reach)) or "nothing for this call"
    links.append(Link("The token", says, bool(reach)))
    if not reach:
        return "Roles and registration name different fields and share none: name a common one."
    # 6. The row, for a call about one document.
    return _row(links, call, person, reach, owner)


def lacking(needed: str, person: ScopeSet, client: ScopeSet | None) -> str:
    """Which link a token lacks a scope for: `person`, `client`, or `asked` when both would have allowed it.
    `client` None is the domain's own application."""
    collection, _, action = needed.partition(":")
    action = action.partition(":")[0]

    def has(scopes: ScopeSet) -> bool:
        return any((one.collection, one.action) == (collection, action) for one in scopes.data)

    if not has(person):
        return "person"
    return "client" if client is not None and not has(client) else "asked"


def _person(links: list[Link], person: Person | None) -> str:
    if person is None:
        links.append(Link("The person", "has no account in this tenant", False))
        return "Check the address and the domain: an account belongs to one tenant."
    if not person.tenant_active:
        links.append(Link("The tenant", "is suspended", False))
        return "Resume the tenant: troth tenant resume"
    says = "is disabled" if person.disabled else f"{person.name}, {person.id}"
    links.append(Link("The person", says, not person.disabled))
    return "Enable the account: troth user enable" if person.disabled else ""


def _roles(links: list[Link], call: Call, person: Person) -> str:
    giving = {
        name: " ".join(map(str, found))
        for name, scopes in person.roles.items()
        if (found := _matching(scope_set(scopes).data, call))
    }
    if giving:
        says = "; ".join(f"{name} gives {scopes}" for name, scopes in giving.items())
        links.append(Link("The roles", says, True))
        return ""
    names = ", ".join(person.roles) or "none"
    links.append(Link("The roles", f"{names}: without {call.needed}", False))
    return f"Give the person a role with {call.needed}, or add it to one of theirs ({names})."


def _registered(links: list[Link], call: Call, application: Application | None) -> str:
    if application is None:
        links.append(Link("The client", "is not registered in this tenant", False))
        return "See the clients that are: troth client list"
    if application.disabled:
        links.append(Link("The client", f"{application.id} is disabled", False))
        return f"Enable it: troth client enable {application.id}"
    if application.scopes is None:
        links.append(
            Link("The client", "the domain's own application, which may do what its person may", True)
        )
        return ""
    found = _matching(scope_set(application.scopes).data, call)
    says = " ".join(map(str, found)) or f"{application.id} is not registered for {call.needed}"
    links.append(Link("The client", says, bool(found)))
    return "" if found else f"Register {application.id} for {call.needed}, or for a narrower scope of it."


def _token(wish: ScopeSet, application: Application, of_roles: ScopeSet) -> tuple[Scope, ...]:
    if application.id == SESSION_CLIENT or application.scopes is None:
        return grant_for_session(wish, of_roles)
    return grant_for_client(wish, scope_set(application.scopes), of_roles).data


def _row(links: list[Link], call: Call, person: Person, reach: tuple[Scope, ...], owner: UUID | None) -> str:
    fields = sorted({field for scope in reach for field in scope.fields})
    if all(scope.fields for scope in reach):
        links.append(Link("The fields", f"only {', '.join(fields)}", True))
    if call.document is None:
        rows = "only the person's own" if all(scope.own for scope in reach) else "everybody's"
        links.append(Link("The rows", rows, True))
        return ""
    if owner is None:
        links.append(Link("The row", "there is no such document in this tenant", False))
        return "The call is answered 404: check the id."
    own = owner == person.id
    allowed = own or any(not scope.own for scope in reach)
    says = "is the person's own" if own else "belongs to somebody else"
    links.append(Link("The row", says, allowed))
    return "" if allowed else f"It takes {call.needed} without `own` to reach what belongs to others."


def _matching(scopes: tuple[Scope, ...], call: Call) -> tuple[Scope, ...]:
    return tuple(one for one in scopes if (one.collection, one.action) == (call.collection, call.action))
