"""Whatever the API's description allows is sent to every operation: by nobody, by a person of another tenant,
and by one who may everything. Its own words are held against every answer.

The examples follow from a seed, which is printed; TROTH_SEED sets another.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from importlib import import_module
from typing import Any

import hypothesis
import msgspec
import pytest
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from hypothesis import HealthCheck, Phase
from schemathesis.core.failures import FailureGroup
from starlette.applications import Starlette

from support.access import House, furnish
from support.administration import EVERYTHING, AdministeredAccess, Official, change, official
from support.documents import EVERYTHING as DOCUMENTS
from support.documents import collections
from troth.access.openapi import describe_access
from troth.access.tokens import Bearer
from troth.core.names import SESSION_COOKIE
from troth.data.documents import Documents
from troth.data.openapi import describe_api
from troth.hosting.ports import free_ports
from troth.web import administration, api, session

# What it says of its types is too little for a strict reader.
schemathesis: Any = import_module("schemathesis")
checks: Any = schemathesis.checks
Case = Any

SEED = int(os.environ.get("TROTH_SEED", "20261125"))
EXAMPLES = 5
"""Of each operation, for each kind of caller."""

CHECKS: list[Any] = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]

DESCRIPTION = describe_api(collections(), title="Residents", version="0.1.0", beside=describe_access())
OPERATIONS = sorted(
    (method.upper(), path)
    for path, item in DESCRIPTION["paths"].items()
    for method in item
    if method != "parameters"
)
EACH_OPERATION = pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS]
)


class Door(msgspec.Struct, frozen=True):
    """The API over real HTTP, and who may come to it."""

    url: str
    boss: Official
    stranger: Official
    known: dict[str, list[str]]

    async def headers(self, who: Official) -> dict[str, str]:
        """What this person's browser application sends, with a token for everything."""
        scopes = (*EVERYTHING, *DOCUMENTS, "notices:read")
        bearer = Bearer(session=who.session, person=who.id, client="session", scopes=scopes)
        minted = await who.house.access.tokens.mint(who.house.domain, bearer)
        return {"Host": f"{who.house.domain.name}:8443", "Authorization": f"Bearer {minted.token}"}

    async def browser(self) -> dict[str, str]:
        """What a script of the domain's own page sends."""
        begun = await self.boss.house.begin()
        return {"Cookie": f"{SESSION_COOKIE}={begun.token}", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def door(access: AdministeredAccess, house: House) -> AsyncGenerator[Door]:
    boss = await official(house, *EVERYTHING, *DOCUMENTS, "notices:read")
    stranger = await official(await furnish(access), *EVERYTHING, *DOCUMENTS, "notices:read")
    documents = Documents(access.database, access.ring, collections())
    openapi = msgspec.json.encode(DESCRIPTION)
    app = Starlette(
        routes=[
            *administration.routes(access),  # type: ignore[arg-type]
            *api.routes(documents, access.authenticator, openapi, access.denials),
            *session.routes(access),
        ]
    )
    port = free_ports(1)[0]
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_level=LogLevels.error
    )
    task = asyncio.create_task(server.serve())
    theirs = [str(stranger.id), str(stranger.session), str(stranger.house.person)]
    client = f"c{secrets.token_hex(8)}"
    await change(stranger.house, "update troth.client set id = $1 where id = 'other'", client)
    known = {"id": theirs, "client": [client], "domain": [stranger.house.domain.name]}
    yield Door(f"http://127.0.0.1:{port}", boss, stranger, known)
    server.stop()
    await task


async def drive(
    method: str, path: str, send: Callable[[Case], None], description: dict[str, Any] = DESCRIPTION
) -> None:
    """Send examples of one operation, from a thread: the server answers in this one."""
    operation = schemathesis.openapi.from_dict(description)[path][method]

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
        print_blob=True,
    )
    @hypothesis.given(case=operation.as_strategy())
    def examples(case: Case) -> None:
        send(case)

    print(f"seed {SEED}")  # noqa: T201 - shown when the test fails
    await asyncio.to_thread(examples)


@EACH_OPERATION
async def test_nobody_is_answered_without_a_token(door: Door, method: str, path: str) -> None:
    host = (await door.headers(door.boss))["Host"]
    answered: list[int] = []

    def send(case: Case) -> None:
        response = case.call(base_url=door.url, headers={"Host": host})
        case.validate_response(response, checks=CHECKS)
        answered.append(response.status_code)

    await drive(method, path, send)
    assert answered
    assert set(answered) <= {400, 401, 403, 404}


@EACH_OPERATION
async def test_answers_are_as_described_and_never_a_fault_of_ours(door: Door, method: str, path: str) -> None:
    headers = await door.headers(door.boss) | await door.browser()
    answered: list[int] = []

    def send(case: Case) -> None:
        response = case.call(base_url=door.url, headers=headers)
        case.validate_response(response, checks=CHECKS)
        answered.append(response.status_code)

    await drive(method, path, send)
    assert answered
    if method == "GET" and "{" not in path:
        assert 200 in answered


async def test_an_answer_that_is_not_as_described_is_found(door: Door) -> None:
    description = msgspec.json.decode(msgspec.json.encode(DESCRIPTION))
    description["components"]["schemas"]["User"]["required"].append("shoe_size")
    headers = await door.headers(door.boss)

    def send(case: Case) -> None:
        case.validate_response(case.call(base_url=door.url, headers=headers), checks=CHECKS)

    with pytest.raises(FailureGroup, match="shoe_size"):
        await drive("GET", "/api/v1/admin/users", send, description)


@EACH_OPERATION
async def test_nothing_of_another_tenant_is_answered_or_changed(door: Door, method: str, path: str) -> None:
    """Somebody who may everything in their own tenant, with the ids of another's."""
    headers = await door.headers(door.boss)
    secret = f"s{secrets.token_hex(8)}"
    theirs = door.stranger.house
    await change(theirs, "update troth.role set name = $1 where name = 'resident'", secret)
    before = await witness(theirs)

    def send(case: Case) -> None:
        for name, values in door.known.items():
            if name in case.path_parameters:
                case.path_parameters[name] = values[len(seen) % len(values)]
        if "name" in case.path_parameters:
            case.path_parameters["name"] = secret
        response = case.call(base_url=door.url, headers=headers)
        seen.append(response.status_code)
        for mark in (secret, theirs.tenant.slug, *door.known["id"], *door.known["client"]):
            assert mark not in response.text.replace(f'"name":"{secret}"', "")

    seen: list[int] = []
    await drive(method, path, send)
    assert await witness(theirs) == before
    if any(f"{{{name}}}" in path for name in door.known):
        assert not [status for status in seen if status < 300]


@EACH_OPERATION
async def test_a_token_of_another_tenant_opens_nothing_here(door: Door, method: str, path: str) -> None:
    headers = await door.headers(door.stranger) | {"Host": (await door.headers(door.boss))["Host"]}

    def send(case: Case) -> None:
        response = case.call(base_url=door.url, headers=headers)
        assert response.status_code in (400, 401, 403, 404), response.text

    await drive(method, path, send)


@pytest.mark.parametrize("path", ["/session", "/session/token"])
async def test_the_cookie_of_another_tenant_opens_nothing_here(door: Door, path: str) -> None:
    begun = await door.stranger.house.begin()
    host = (await door.headers(door.boss))["Host"]

    def send(case: Case) -> None:
        cookie = {"Cookie": f"{SESSION_COOKIE}={begun.token}", "Sec-Fetch-Site": "same-origin"}
        response = case.call(base_url=door.url, headers={"Host": host, **cookie})
        assert response.status_code in (400, 401), response.text

    await drive("GET", path, send)


async def witness(house: House) -> dict[str, Any]:
    """All that another tenant could have changed in this one."""
    access = house.access
    async with access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        people = await connection.fetch(
            "select id, roles, disabled, sessions_from from troth.person order by id"
        )
        roles = await connection.fetch(
            "select name, scopes, version from troth.role where tenant_id is not null order by name"
        )
        clients = await connection.fetch(
            "select id, name, redirect_uris, scopes, disabled,"
            " (select count(*) from troth.client_secret) as secrets from troth.client order by id"
        )
        domains = await connection.fetch(
            "select d.name, state, branding, challenge, policy from troth.domain d"
            " join troth.tenant t on t.id = tenant_id where tenant_id = $1 order by 1",
            house.tenant.id,
        )
        ended = await connection.fetch("select id, ended_at from troth.session order by id")
    return {
        "people": list(map(dict, people)),
        "roles": list(map(dict, roles)),
        "clients": list(map(dict, clients)),
        "domains": list(map(dict, domains)),
        "ended": list(map(dict, ended)),
    }
