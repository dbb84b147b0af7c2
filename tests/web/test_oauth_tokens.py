"""Codes and tokens over HTTP: redeemed once, by whom they were meant for, and dead with the session."""

import asyncio
from typing import Any

import httpx
import pytest

from support.access import EMAIL, NAME, House, furnish
from support.browser import Browser, WebAccess
from support.client import CHALLENGE, get_code, redeem
from troth.access.errors import NoSession


async def test_of_twenty_redemptions_at_once_one_gets_tokens_and_the_replay_ends_them(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    code = await get_code(signed_in)
    responses = await asyncio.gather(*(redeem(signed_in, code) for _ in range(20)))
    granted = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code != 200]
    assert len(granted) == 1
    assert {response.json()["error"] for response in refused} == {"invalid_grant"}
    principal = await web.tokens.verify(house.domain, granted[0].json()["access_token"])
    with pytest.raises(NoSession):
        await web.sessions.open_by_id(house.domain, principal.session)
    events = await web.events(house.domain.name)
    assert events.count("grant.begun") == 1
    assert events.count("code.replayed") == 19
    assert (await signed_in.fetch("/session")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"grant_type": None}, "invalid_request", 400),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type", 400),
        ({"grant_type": "refresh_token"}, "invalid_request", 400),
        ({"client_id": None}, "invalid_client", 401),
        ({"client_id": "unknown"}, "invalid_client", 401),
        ({"client_id": "other"}, "invalid_grant", 400),
        ({"client_secret": "x"}, "invalid_client", 401),
        ({"code": None}, "invalid_request", 400),
        ({"code": "x" * 43}, "invalid_grant", 400),
        ({"code": "é"}, "invalid_grant", 400),
        ({"code_verifier": None}, "invalid_request", 400),
        ({"code_verifier": "short"}, "invalid_grant", 400),
        ({"code_verifier": "w" * 43}, "invalid_grant", 400),
        ({"code_verifier": CHALLENGE}, "invalid_grant", 400),
        ({"redirect_uri": "http://127.0.0.1/callback"}, "invalid_grant", 400),
    ],
)
async def test_a_code_alone_is_worth_nothing(
    signed_in: Browser, changes: dict[str, str | None], error: str, status: int
) -> None:
    response = await redeem(signed_in, await get_code(signed_in), **changes)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.headers["access-control-allow-origin"] == "*"


async def test_a_wrong_verifier_burns_the_code(signed_in: Browser) -> None:
    code = await get_code(signed_in)
    await redeem(signed_in, code, code_verifier="w" * 43)
    assert (await redeem(signed_in, code)).json()["error"] == "invalid_grant"


async def test_the_redirect_uri_may_be_left_out_of_the_exchange(signed_in: Browser) -> None:
    assert (await redeem(signed_in, await get_code(signed_in), redirect_uri=None)).status_code == 200


async def test_a_code_lives_for_a_minute(web: WebAccess, signed_in: Browser, house: House) -> None:
    code = await get_code(signed_in)
    async with web.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.authorization_code set expires_at = now()")
    assert (await redeem(signed_in, code)).json()["error"] == "invalid_grant"


async def test_a_code_dies_with_the_session(signed_in: Browser) -> None:
    code = await get_code(signed_in)
    await signed_in.post("/logout", {})
    assert (await redeem(signed_in, code)).json()["error"] == "invalid_grant"


async def test_a_code_of_one_domain_is_worth_nothing_on_another(web: WebAccess, signed_in: Browser) -> None:
    elsewhere = Browser(web, await furnish(web))
    code = await get_code(signed_in)
    assert (await redeem(elsewhere, code)).json()["error"] == "invalid_grant"
    assert (await redeem(signed_in, code)).status_code == 200
    await elsewhere.close()


async def get_tokens(browser: Browser, **changes: str | None) -> dict[str, Any]:
    return (await redeem(browser, await get_code(browser, **changes))).json()


async def userinfo(browser: Browser, token: str) -> httpx.Response:
    return await browser.send("GET", "/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})


async def test_userinfo_tells_what_was_agreed_to(signed_in: Browser, house: House) -> None:
    tokens = await get_tokens(signed_in, scope="openid profile email")
    told = await userinfo(signed_in, tokens["access_token"])
    assert told.json() == {"sub": str(house.person), "name": NAME, "email": EMAIL}
    narrow = await get_tokens(signed_in, scope="openid", prompt="consent")
    assert (await userinfo(signed_in, narrow["access_token"])).json() == {"sub": str(house.person)}


async def test_userinfo_wants_openid_and_a_good_token(signed_in: Browser) -> None:
    tokens = await get_tokens(signed_in, scope="tickets:read")
    assert "id_token" not in tokens
    refused = await userinfo(signed_in, tokens["access_token"])
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")
    forged = await userinfo(signed_in, tokens["access_token"][:-2])
    assert (forged.status_code, forged.json()["error"]) == (401, "invalid_token")
    assert "Bearer" in forged.headers["www-authenticate"]


async def test_what_a_client_was_granted_dies_with_the_session(signed_in: Browser) -> None:
    tokens = await get_tokens(signed_in)
    await signed_in.post("/logout", {})
    assert (await userinfo(signed_in, tokens["access_token"])).status_code == 401


async def revoke(browser: Browser, token: str, client: str = "ledger") -> int:
    form = {"token": token, "client_id": client}
    return (await browser.send("POST", "/oauth/revoke", headers={}, data=form)).status_code


async def test_a_client_gives_its_token_back(signed_in: Browser) -> None:
    tokens = await get_tokens(signed_in)
    assert await revoke(signed_in, tokens["access_token"], "other") == 200
    assert (await userinfo(signed_in, tokens["access_token"])).status_code == 200
    assert await revoke(signed_in, tokens["access_token"]) == 200
    assert (await userinfo(signed_in, tokens["access_token"])).status_code == 401
    assert await revoke(signed_in, "no token") == 200
    assert (await signed_in.fetch("/session")).status_code == 200


async def test_credentials_in_a_header_are_refused(signed_in: Browser) -> None:
    response = await signed_in.send(
        "POST", "/oauth/token", headers={"Authorization": "Basic bGVkZ2VyOg=="}, data={"grant_type": "x"}
    )
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")
