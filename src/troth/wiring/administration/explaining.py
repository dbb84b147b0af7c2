"""`troth access explain`: what the database holds of a person, a client and a document."""

from uuid import UUID

import msgspec

from troth.access.accounts.people import Accounts
from troth.access.explain import Application, Call, Person, explain, parse_call
from troth.core.db import Database
from troth.core.errors import UsageError
from troth.core.names import SESSION_CLIENT
from troth.wiring.administration.office import Answer, Tools, Verb


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked on the command line. `client` empty is the domain's own application, `domain` empty the
    only one that knows this person."""

    person: str
    call: str
    client: str = SESSION_CLIENT
    domain: str = ""
    scope: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """A client domain and its tenant, which may be suspended."""

    domain: str
    tenant: UUID
    active: bool


async def _explain(tools: Tools, question: Question) -> Answer:
    """The chain, link by link. Raises UsageError for a question that makes no sense."""
    try:
        call = parse_call(question.call)
        place, person = await _find(tools.auditor, tools.accounts, question)
        application = await _application(tools.auditor, place, question.client)
        owner = await _owner(tools.auditor, place, call)
        return msgspec.to_builtins(explain(call, person, application, question.scope, owner))
    except ValueError as error:
        raise UsageError(str(error)) from None


async def _find(auditor: Database, accounts: Accounts, question: Question) -> tuple[Place, Person | None]:
    """Where the question is about, and the person whom that place knows by this address."""
    if question.domain:
        place = await _place(auditor, question.domain)
        return place, await _person(auditor, accounts, place, question.person)
    known: list[tuple[Place, Person]] = []
    for row in await auditor.fetch("select min(name) as name from troth.domain group by tenant_id"):
        place = await _place(auditor, row["name"])
        person = await _person(auditor, accounts, place, question.person)
        if person is not None:
            known.append((place, person))
    if len(known) == 1:
        return known[0]
    if not known:
        raise UsageError(
            f"No tenant has an account of {question.person}.", hint="Check the address: troth user list"
        )
    raise UsageError(
        f"{question.person} has an account in {len(known)} tenants.",
        hint=f"Say on which domain: --domain {known[0][0].domain}",
    )


async def _place(auditor: Database, domain: str) -> Place:
    row = await auditor.fetchrow(
        "select d.name, d.tenant_id, t.active from troth.domain d join troth.tenant t on t.id = d.tenant_id"
        " where d.name = $1",
        domain,
    )
    if row is None:
        raise UsageError(f"{domain} is no client domain here.", hint="See: troth domain list")
    return Place(row["name"], row["tenant_id"], row["active"])


async def _person(auditor: Database, accounts: Accounts, place: Place, email: str) -> Person | None:
    candidate = await accounts.find(place.domain, place.tenant, email)
    if candidate is None:
        return None
    names = await auditor.fetchval("select roles from troth.person where id = $1", candidate.id)
    rows = await auditor.fetch(
        "select name, scopes from troth.role where name = any ($1) and (tenant_id is null or tenant_id = $2)",
        list(names or ()),
        place.tenant,
    )
    roles: dict[str, tuple[str, ...]] = {}
    for row in rows:  # a tenant's role beside one of the platform's with the same name: both give
        roles[row["name"]] = (*roles.get(row["name"], ()), *row["scopes"])
    return Person(
        id=candidate.id, name=email, disabled=candidate.disabled, tenant_active=place.active, roles=roles
    )


async def _application(auditor: Database, place: Place, client: str) -> Application | None:
    if client == SESSION_CLIENT:
        return Application(SESSION_CLIENT, None)
    row = await auditor.fetchrow(
        "select scopes, disabled from troth.client where tenant_id = $1 and id = $2", place.tenant, client
    )
    return None if row is None else Application(client, tuple(row["scopes"]), row["disabled"])


async def _owner(auditor: Database, place: Place, call: Call) -> UUID | None:
    if call.document is None:
        return None
    return await auditor.fetchval(
        "select owner from troth.document where tenant_id = $1 and collection = $2 and id = $3",
        place.tenant,
        call.collection,
        call.document,
    )


VERBS = (Verb("access.explain", Question, _explain),)
