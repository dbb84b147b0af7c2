"""`/api/v1/admin/clients`: a secret is told once, a change ends grants, and nobody gives what they lack."""

import pytest

from support.access import House
from support.administration import EVERYTHING, Official, change, official
from support.api import check_problem

CLIENTS = "/api/v1/admin/clients"
BACK = "https://books.example/back"
BOOKS = {"id": "books", "name": "Books", "scopes": ["openid", "tickets:read"], "redirect_uris": [BACK]}


async def secrets_of(house: House, client: str) -> int:
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        return await connection.fetchval(
            "select count(*) from troth.client_secret where client_id = $1 and expires_at > now()", client
        )


async def test_a_client_is_registered_with_a_secret_that_is_told_once(boss: Official) -> None:
    made = await boss.call("POST", CLIENTS, BOOKS)
    assert made.status_code == 201
    secret = made.json()["client_secret"]
    shown = await boss.call("GET", f"{CLIENTS}/books")
    assert secret not in shown.text
    told = shown.json()
    assert (told["name"], told["origin"], told["redirect_uris"]) == ("Books", "operator", [BACK])
    assert told["metadata"]["token_endpoint_auth_method"] == "client_secret_basic"
    assert told["secrets"] == [None]
    found = await boss.house.access.clients.find(boss.house.domain, "books")
    assert found is not None
    assert found.scopes.texts == ("openid", "tickets:read")
    check_problem(await boss.call("POST", CLIENTS, BOOKS), 409, "conflict")
    assert "client.added" in await boss.house.access.events(boss.house.domain.name)


async def test_without_an_id_one_is_made_and_a_public_client_has_no_secret(boss: Official) -> None:
    body = {
        "name": "App",
        "scopes": ["openid"],
        "redirect_uris": ["http://127.0.0.1/callback"],
        "metadata": {"token_endpoint_auth_method": "none"},
    }
    made = (await boss.call("POST", CLIENTS, body)).json()
    assert set(made) == {"id"}
    assert (await boss.call("GET", f"{CLIENTS}/{made['id']}")).json()["secrets"] == []


@pytest.mark.parametrize(
    ("fault", "pointer"),
    [
        ({"id": "session "}, "/id"),
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["tickets:reed"]}, "/scopes"),
        ({"scopes": ["nowhere:read"]}, "/scopes"),
        ({"redirect_uris": ["http://books.example/back"]}, "/redirect_uris"),
        ({"redirect_uris": []}, "/redirect_uris"),
        ({"metadata": {"grant_types": ["password"]}}, "/metadata"),
        ({"metadata": {"backchannel_logout_uri": "https://10.0.0.1/x"}}, "/metadata"),
        ({"metadata": {"client_secret": "chosen"}}, "/metadata/client_secret"),
        ({"secret": "chosen"}, ""),
    ],
)
async def test_a_client_that_cannot_be_is_not_made(
    boss: Official, fault: dict[str, object], pointer: str
) -> None:
    before = (await boss.call("GET", CLIENTS)).json()
    problem = check_problem(await boss.call("POST", CLIENTS, {**BOOKS, **fault}), 422, "invalid")
    assert problem["errors"][0]["pointer"] == pointer
    assert (await boss.call("GET", CLIENTS)).json() == before


async def test_the_name_of_a_domains_own_pages_is_no_clients(boss: Official) -> None:
    check_problem(await boss.call("POST", CLIENTS, {**BOOKS, "id": "session"}), 409, "conflict")


async def test_a_change_names_its_version_and_ends_what_may_no_longer_be(boss: Official) -> None:
    await boss.call("POST", CLIENTS, BOOKS)
    path = f"{CLIENTS}/books"
    await change(
        boss.house,
        "insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, scopes, idle,"
        " expires_at) select gen_random_uuid(), tenant_id, domain, person_id, id, 'books', '{openid}', idle,"
        " expires_at from troth.session where id = $1",
        boss.session,
    )
    tag = (await boss.call("GET", path)).headers["etag"]
    renamed = await boss.call("PATCH", path, {"name": "Bookkeeping"}, if_match=tag)
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["grants"]) == (200, "Bookkeeping", 1)
    check_problem(await boss.call("PATCH", path, {"name": "X"}, if_match=tag), 412, "precondition_failed")
    check_problem(await boss.call("PATCH", path, {"name": "X"}), 428, "precondition_required")
    narrowed = await boss.call("PATCH", path, {"scopes": ["openid"]}, if_match="*")
    assert (narrowed.json()["scopes"], narrowed.json()["grants"]) == (["openid"], 0)
    disabled = await boss.call("PATCH", path, {"disabled": True}, if_match="*")
    assert disabled.json()["disabled"] is True
    assert await boss.house.access.clients.find(boss.house.domain, "books") is None
    assert (await boss.call("DELETE", path)).status_code == 204
    check_problem(await boss.call("DELETE", path), 404, "not_found")


async def test_a_secret_is_rotated_and_two_at_most_are_good(boss: Official) -> None:
    await boss.call("POST", CLIENTS, BOOKS)
    first = (await boss.call("POST", f"{CLIENTS}/books/secret", {})).json()["client_secret"]
    second = (await boss.call("POST", f"{CLIENTS}/books/secret", {})).json()["client_secret"]
    assert first != second
    assert await secrets_of(boss.house, "books") == 2
    await boss.call("POST", f"{CLIENTS}/books/secret", {"overlap": 0})
    assert await secrets_of(boss.house, "books") == 1
    check_problem(await boss.call("POST", f"{CLIENTS}/ledger/secret", {}), 409, "conflict")


async def test_a_client_of_the_operators_file_is_disabled_here_and_no_more(boss: Official) -> None:
    path = f"{CLIENTS}/ledger"
    renamed = await boss.call("PATCH", path, {"name": "Mine"}, if_match="*")
    check_problem(renamed, 409, "conflict")
    check_problem(await boss.call("DELETE", path), 409, "conflict")
    disabled = await boss.call("PATCH", path, {"disabled": True}, if_match="*")
    assert disabled.json()["disabled"] is True


async def test_nobody_gives_a_client_a_power_that_they_do_not_hold(boss: Official, house: House) -> None:
    mine = tuple(one for one in EVERYTHING if one.startswith("admin.clients"))
    clerk = await official(house, *mine)
    powerful = {**BOOKS, "scopes": ["admin.users:update"]}
    problem = check_problem(await clerk.call("POST", CLIENTS, powerful), 403, "insufficient_scope")
    assert problem["scope"] == "admin.users:update"
    assert (await boss.call("POST", CLIENTS, powerful)).status_code == 201
    # Whoever decides where its answers go could take what it may.
    stolen = {"redirect_uris": ["https://thief.example/back"]}
    response = await clerk.call("PATCH", f"{CLIENTS}/books", stolen, if_match="*")
    check_problem(response, 403, "insufficient_scope")
    check_problem(await clerk.call("POST", f"{CLIENTS}/books/secret", {}), 403, "insufficient_scope")
    invited = {"scopes": ["admin.users:update"]}
    response = await clerk.call("POST", "/api/v1/admin/client-invitations", invited)
    check_problem(response, 403, "insufficient_scope")


async def test_an_invitation_registers_as_many_clients_as_it_says(boss: Official) -> None:
    body = {"scopes": ["openid", "tickets:read"], "uses": 1, "life": 60}
    told = (await boss.call("POST", "/api/v1/admin/client-invitations", body)).json()
    access, domain = boss.house.access, boss.house.domain
    document = {"client_name": "New", "redirect_uris": [BACK], "scope": "openid"}
    made = await access.registrations.register(domain, told["initial_access_token"], document)
    assert (await boss.call("GET", f"{CLIENTS}/{made['client_id']}")).json()["origin"] == "dynamic"


async def test_clients_are_listed_by_pages_and_only_ones_own(boss: Official, stranger: Official) -> None:
    await stranger.call("POST", CLIENTS, {**BOOKS, "id": "theirs"})
    first = (await boss.call("GET", f"{CLIENTS}?limit=1")).json()
    second = (await boss.call("GET", f"{CLIENTS}?limit=1&after={first['next']}")).json()
    assert [one["id"] for one in (*first["items"], *second["items"])] == ["ledger", "other"]
    assert second["next"] is None
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"disabled": True}),
        ("DELETE", "", None),
        ("POST", "/secret", {}),
    ):
        response = await boss.call(method, f"{CLIENTS}/theirs{path}", body, if_match="*")
        check_problem(response, 404, "not_found")


async def test_a_client_whose_id_was_drawn_at_random_is_found_however_it_begins(boss: Official) -> None:
    await change(boss.house, "update troth.client set id = '-_drawn' where id = 'other'")
    assert (await boss.call("GET", f"{CLIENTS}/-_drawn")).json()["id"] == "-_drawn"
