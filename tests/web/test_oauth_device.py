"""Devices without a browser, over HTTP: a person types the code, is warned, and decides."""

import asyncio
from typing import Any

import httpx
import pytest

from support.access import House, furnish
from support.browser import Browser, WebAccess
from support.client import hidden
from support.clients import add_client
from troth.access.oauth.clients import CODE_GRANT, DEVICE_GRANT, REFRESH_GRANT
from troth.access.oauth.device_codes import ALPHABET, read_user_code
from troth.access.sessions import token_hash

SCOPE = "openid tickets:read"


@pytest.fixture
async def television(house: House) -> str:
    await add_client(house, "television", grant_types=(DEVICE_GRANT, REFRESH_GRANT))
    return "television"


async def begin(browser: Browser, **changes: str | None) -> httpx.Response:
    form = {"client_id": "television", "scope": SCOPE, **changes}
    sent = {name: value for name, value in form.items() if value is not None}
    return await browser.send("POST", "/oauth/device", headers={}, data=sent)


async def begun(browser: Browser) -> dict[str, Any]:
    response = await begin(browser)
    assert response.status_code == 200, response.text
    return response.json()


async def poll(browser: Browser, code: str | None, **changes: str | None) -> httpx.Response:
    form = {"client_id": "television", "grant_type": DEVICE_GRANT, "device_code": code, **changes}
    sent = {name: value for name, value in form.items() if value is not None}
    return await browser.send("POST", "/oauth/token", headers={}, data=sent)


async def decide(browser: Browser, typed: str, decision: str = "allow") -> httpx.Response:
    page = await browser.post("/device", {"user_code": typed})
    assert page.status_code == 200, page.text
    code = hidden(page.text, "user_code")
    return await browser.post("/device/decision", {"user_code": code, "decision": decision})


async def hurry(house: House, sql: str) -> None:
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(sql)


FASTER = "update troth.device_request set polled_at = polled_at - interval '2 minutes'"


async def test_a_person_connects_a_device(
    web: WebAccess, signed_in: Browser, house: House, television: str
) -> None:
    told = await begun(signed_in)
    assert told["verification_uri"] == f"{house.domain.issuer}/device"
    assert told["verification_uri_complete"].endswith(f"?user_code={told['user_code']}")
    assert (told["expires_in"], told["interval"]) == (600, 5)
    assert len(read_user_code(told["user_code"])) == 8
    assert set(read_user_code(told["user_code"])) <= set(ALPHABET)
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "authorization_pending"
    page = await signed_in.get(told["verification_uri_complete"].removeprefix(house.domain.issuer))
    assert told["user_code"] in page.text
    question = await signed_in.post("/device", {"user_code": told["user_code"].lower().replace("-", " ")})
    assert "see your own entries in “Tickets”" in question.text
    assert "Did somebody send you this code" in question.text
    assert told["user_code"] in question.text
    done = await decide(signed_in, told["user_code"])
    assert "The device is connected" in done.text
    await hurry(house, FASTER)
    answer = await poll(signed_in, told["device_code"])
    assert answer.status_code == 200, answer.text
    principal = await web.tokens.verify(house.domain, answer.json()["access_token"])
    assert (principal.client, principal.person) == (television, house.person)
    assert answer.json()["scope"] == "openid tickets:read:own"
    assert answer.json()["refresh_token"]
    events = await web.events(house.domain.name)
    assert {"device.approved", "grant.begun"} <= set(events)


async def test_what_a_device_was_granted_dies_with_the_session_in_which_it_was(
    signed_in: Browser, house: House, television: str
) -> None:
    told = await begun(signed_in)
    await decide(signed_in, told["user_code"])
    tokens = (await poll(signed_in, told["device_code"])).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await signed_in.send("GET", "/oauth/userinfo", headers=headers)).status_code == 200
    await signed_in.post("/logout", {})
    assert (await signed_in.send("GET", "/oauth/userinfo", headers=headers)).status_code == 401
    form = {"grant_type": "refresh_token", "client_id": television, "refresh_token": tokens["refresh_token"]}
    refused = await signed_in.send("POST", "/oauth/token", headers={}, data=form)
    assert refused.json()["error"] == "invalid_grant"


async def test_a_code_that_was_approved_is_over_with_the_session(
    signed_in: Browser, house: House, television: str
) -> None:
    told = await begun(signed_in)
    await decide(signed_in, told["user_code"])
    await signed_in.post("/logout", {})
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "invalid_grant"


async def test_no_means_no_and_is_said_once(signed_in: Browser, house: House, television: str) -> None:
    told = await begun(signed_in)
    done = await decide(signed_in, told["user_code"], "deny")
    assert "The device was refused" in done.text
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "access_denied"
    late = await signed_in.post("/device/decision", {"user_code": told["user_code"], "decision": "allow"})
    assert late.status_code == 409
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "access_denied"


async def test_a_device_that_asks_too_often_is_slowed_down(
    signed_in: Browser, house: House, television: str
) -> None:
    told = await begun(signed_in)
    errors = [(await poll(signed_in, told["device_code"])).json()["error"] for _ in range(3)]
    assert errors == ["authorization_pending", "slow_down", "slow_down"]
    await hurry(house, "update troth.device_request set polled_at = now() - interval '14 seconds'")
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "slow_down"
    await hurry(house, FASTER)
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "authorization_pending"


async def test_a_device_code_grows_old(signed_in: Browser, house: House, television: str) -> None:
    told = await begun(signed_in)
    await hurry(house, "update troth.device_request set expires_at = now()")
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "expired_token"
    assert (await signed_in.post("/device", {"user_code": told["user_code"]})).status_code == 404


async def test_of_ten_polls_at_once_one_gets_tokens_and_the_replays_end_them(
    web: WebAccess, signed_in: Browser, house: House, television: str
) -> None:
    told = await begun(signed_in)
    await decide(signed_in, told["user_code"])
    answers = await asyncio.gather(*(poll(signed_in, told["device_code"]) for _ in range(10)))
    granted = [answer for answer in answers if answer.status_code == 200]
    assert len(granted) == 1
    headers = {"Authorization": f"Bearer {granted[0].json()['access_token']}"}
    assert (await signed_in.send("GET", "/oauth/userinfo", headers=headers)).status_code == 401
    assert "device.replayed" in await web.events(house.domain.name)


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"client_id": None}, "invalid_client", 401),
        ({"client_id": "unknown"}, "invalid_client", 401),
        ({"client_id": "ledger"}, "unauthorized_client", 400),
        ({"scope": "tickets:delete"}, "invalid_scope", 400),
        ({"scope": "no such thing"}, "invalid_scope", 400),
        ({"scope": " ".join(f"a{i}:read" for i in range(101))}, "invalid_scope", 400),
    ],
)
async def test_a_device_request_has_to_be_right(
    signed_in: Browser, television: str, changes: dict[str, str | None], error: str, status: int
) -> None:
    response = await begin(signed_in, **changes)
    assert (response.status_code, response.json()["error"]) == (status, error)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"device_code": None}, "invalid_request"),
        ({"device_code": "x"}, "invalid_grant"),
        ({"device_code": "x" * 43}, "invalid_grant"),
        ({"client_id": "ledger"}, "unauthorized_client"),
        ({"client_id": "radio"}, "invalid_grant"),
    ],
)
async def test_another_clients_device_code_is_worth_nothing(
    signed_in: Browser, house: House, television: str, changes: dict[str, str | None], error: str
) -> None:
    await add_client(house, "radio", grant_types=(CODE_GRANT, DEVICE_GRANT))
    told = await begun(signed_in)
    await decide(signed_in, told["user_code"])
    assert (await poll(signed_in, told["device_code"], **changes)).json()["error"] == error
    assert (await poll(signed_in, told["device_code"])).status_code == 200


async def test_a_device_code_of_one_domain_is_worth_nothing_on_another(
    web: WebAccess, signed_in: Browser, television: str
) -> None:
    house = await furnish(web)
    await add_client(house, "television", grant_types=(DEVICE_GRANT,))
    elsewhere = Browser(web, house)
    elsewhere.cookie = (await house.begin()).token
    told = await begun(signed_in)
    assert (await poll(elsewhere, told["device_code"])).json()["error"] == "invalid_grant"
    assert (await elsewhere.post("/device", {"user_code": told["user_code"]})).status_code == 404
    await elsewhere.close()


async def test_guessing_codes_is_stopped_for_a_session_and_a_right_one_does_not_count(
    web: WebAccess, signed_in: Browser, house: House, television: str
) -> None:
    told = await begun(signed_in)
    for _ in range(3):
        assert (await signed_in.post("/device", {"user_code": told["user_code"]})).status_code == 200
    for _ in range(5):
        assert (await signed_in.post("/device", {"user_code": "BBBB-BBBB"})).status_code == 404
    stopped = await signed_in.post("/device", {"user_code": told["user_code"]})
    assert stopped.status_code == 429
    assert stopped.headers["retry-after"] == "600"
    assert "device.guessing_stopped" in await web.events(house.domain.name)
    another = Browser(web, house)
    another.cookie = (await house.begin()).token
    assert (await another.post("/device", {"user_code": told["user_code"]})).status_code == 200
    await hurry(house, "update troth.device_guess set since = now() - interval '11 minutes'")
    assert (await signed_in.post("/device", {"user_code": told["user_code"]})).status_code == 200
    await another.close()


async def test_guesses_at_once_do_not_slip_through(
    web: WebAccess, signed_in: Browser, house: House, television: str
) -> None:
    answers = await asyncio.gather(
        *(signed_in.post("/device", {"user_code": "BBBB-BBBB"}) for _ in range(20))
    )
    assert [answer.status_code for answer in answers].count(404) == 5


async def test_many_sessions_of_one_network_do_not_guess_more(
    web: WebAccess, house: House, television: str
) -> None:
    statuses: list[int] = []
    for number in range(7):
        browser = Browser(web, house)
        browser.cookie = (await house.begin()).token
        for _ in range(5):
            headers = {"x_forwarded_for": f"203.0.113.{number}"}
            statuses.append(
                (await browser.post("/device", {"user_code": "BBBB-BBBB"}, **headers)).status_code
            )
        await browser.close()
    assert statuses == [404] * 30 + [429] * 5


async def test_nobody_decides_without_signing_in_and_the_code_is_kept_for_after(
    browser: Browser, television: str
) -> None:
    told = await begun(browser)
    for response in (
        await browser.get(f"/device?user_code={told['user_code']}"),
        await browser.post("/device", {"user_code": told["user_code"]}),
        await browser.post("/device/decision", {"user_code": told["user_code"], "decision": "allow"}),
    ):
        assert response.status_code == 303
        assert response.headers["location"].startswith("/login?return_to=/device%3Fuser_code%3D")
    assert (await poll(browser, told["device_code"])).json()["error"] == "authorization_pending"


@pytest.mark.parametrize("path", ["/device", "/device/decision"])
async def test_another_site_cannot_decide(signed_in: Browser, television: str, path: str) -> None:
    told = await begun(signed_in)
    form = {"user_code": told["user_code"], "decision": "allow"}
    forged = await signed_in.post(path, form, Origin="https://elsewhere.example", Sec_Fetch_Site="cross-site")
    assert forged.status_code == 403
    assert (await poll(signed_in, told["device_code"])).json()["error"] == "authorization_pending"


async def test_neither_code_is_stored(signed_in: Browser, house: House, television: str) -> None:
    told = await begun(signed_in)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        row = await connection.fetchrow("select * from troth.device_request")
    assert row is not None
    assert told["device_code"] not in repr(row)
    code = read_user_code(told["user_code"])
    assert row["user_code_index"] not in (token_hash(code), token_hash(f"{house.domain.name} {code}"))


async def test_a_client_cannot_fill_the_table(signed_in: Browser, house: House, television: str) -> None:
    await hurry(
        house,
        "insert into troth.device_request (device_hash, tenant_id, domain, client_id, user_code_index,"
        " scopes, expires_at, poll_seconds)"
        " select decode(md5(i::text), 'hex'), d.tenant_id, d.name, 'television',"
        " decode(md5(i::text), 'hex'), '{openid}', now() + interval '1 hour', 5"
        " from troth.domain d, generate_series(1, 1000) i where d.tenant_id = troth.context_tenant()",
    )
    response = await begin(signed_in)
    assert (response.status_code, response.json()["error"]) == (400, "slow_down")
