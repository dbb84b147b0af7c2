"""Refresh tokens over HTTP: one is good at a time, two tabs at once do no harm, a replay ends everything."""

import asyncio
from typing import Any

import httpx
import pytest

from support.access import House, furnish
from support.browser import Browser, WebAccess
from support.client import get_code, redeem
from support.clients import add_client
from troth.access.errors import NoSession

WIDE = "openid profile email tickets:read announcements:read"


async def tokens_of(browser: Browser, **changes: str | None) -> dict[str, Any]:
    response = await redeem(browser, await get_code(browser, **changes))
    assert response.status_code == 200, response.text
    return response.json()


async def refresh(browser: Browser, token: str | None, /, **changes: str | None) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": "ledger", "refresh_token": token, **changes}
    sent = {name: value for name, value in form.items() if value is not None}
    return await browser.send("POST", "/oauth/token", headers={}, data=sent)


async def again(browser: Browser, token: str, /, **changes: str | None) -> dict[str, Any]:
    response = await refresh(browser, token, **changes)
    assert response.status_code == 200, response.text
    return response.json()


async def opens(browser: Browser, token: str) -> bool:
    response = await browser.send("GET", "/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})
    return response.status_code == 200


async def shift(house: House, seconds: int) -> None:
    """As if the last rotation lay so much longer ago."""
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.refresh_family set rotated_at = rotated_at - $1 * interval '1 second'", seconds
        )


async def test_each_use_gives_a_new_token_and_the_session_stays_one(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    first = await tokens_of(signed_in)
    second = await again(signed_in, first["refresh_token"])
    third = await again(signed_in, second["refresh_token"])
    assert len({one["refresh_token"] for one in (first, second, third)}) == 3
    assert len({one["access_token"] for one in (first, second, third)}) == 3
    assert third["scope"] == first["scope"]
    held = [await web.tokens.verify(house.domain, one["access_token"]) for one in (first, second, third)]
    assert len({principal.session for principal in held}) == 1
    identity = await web.keys.verify(house.domain, third["id_token"], "JWT", "ledger")
    assert identity.nonce == ""
    assert identity.acr == "urn:troth:acr:1"


async def test_of_twenty_refreshes_at_once_all_get_the_same_successor(
    signed_in: Browser, web: WebAccess, house: House
) -> None:
    first = await tokens_of(signed_in)
    answers = await asyncio.gather(*(again(signed_in, first["refresh_token"]) for _ in range(20)))
    successors = {answer["refresh_token"] for answer in answers}
    assert len(successors) == 1
    events = await web.events(house.domain.name)
    assert events.count("refresh.repeated") == 19
    assert "refresh.replayed" not in events
    assert (await refresh(signed_in, successors.pop())).status_code == 200


async def test_once_the_successor_was_used_the_one_before_ends_the_grant(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    first = await tokens_of(signed_in)
    second = await again(signed_in, first["refresh_token"])
    third = await again(signed_in, second["refresh_token"])
    assert (await refresh(signed_in, first["refresh_token"])).json()["error"] == "invalid_grant"
    for token in (first, second, third):
        assert (await refresh(signed_in, token["refresh_token"])).json()["error"] == "invalid_grant"
        assert not await opens(signed_in, token["access_token"])
    assert (await signed_in.fetch("/session")).status_code == 200
    assert (await web.events(house.domain.name)).count("refresh.replayed") == 1


@pytest.mark.parametrize(("confidential", "seconds"), [(False, 6), (True, 11)])
async def test_after_the_overlap_the_token_before_is_a_replay(
    signed_in: Browser, house: House, confidential: bool, seconds: int
) -> None:
    method: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_post"} if confidential else {}
    secret = await add_client(house, "app", **method)
    proves = {"client_id": "app", "client_secret": secret if confidential else None}
    first = (await redeem(signed_in, await get_code(signed_in, client_id="app"), **proves)).json()
    second = await again(signed_in, first["refresh_token"], **proves)
    await shift(house, seconds - 2)
    assert (await again(signed_in, first["refresh_token"], **proves))["refresh_token"] == second[
        "refresh_token"
    ]
    await shift(house, 2)
    assert (await refresh(signed_in, first["refresh_token"], **proves)).json()["error"] == "invalid_grant"
    assert (await refresh(signed_in, second["refresh_token"], **proves)).json()["error"] == "invalid_grant"


async def test_a_refresh_token_dies_with_the_session(signed_in: Browser) -> None:
    tokens = await tokens_of(signed_in)
    await signed_in.post("/logout", {})
    assert (await refresh(signed_in, tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_refresh_token_that_is_not_used_for_long_is_over(signed_in: Browser, house: House) -> None:
    tokens = await tokens_of(signed_in)
    await shift(house, 3601)
    assert (await refresh(signed_in, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert await opens(signed_in, tokens["access_token"])


@pytest.mark.parametrize(
    ("changes", "error", "status"),
    [
        ({"refresh_token": None}, "invalid_request", 400),
        ({"refresh_token": ""}, "invalid_request", 400),
        ({"refresh_token": "x" * 92}, "invalid_grant", 400),
        ({"refresh_token": "x" * 4000}, "invalid_grant", 400),
        ({"refresh_token": "é"}, "invalid_grant", 400),
        ({"client_id": "other"}, "invalid_grant", 400),
        ({"client_id": "unknown"}, "invalid_client", 401),
        ({"client_id": None}, "invalid_client", 401),
        ({"scope": "openid email"}, "invalid_scope", 400),
        ({"scope": "tickets:delete"}, "invalid_scope", 400),
        ({"scope": "no such thing"}, "invalid_scope", 400),
    ],
)
async def test_what_is_refused_changes_nothing(
    web: WebAccess, signed_in: Browser, house: House, changes: dict[str, str | None], error: str, status: int
) -> None:
    tokens = await tokens_of(signed_in)
    response = await refresh(signed_in, tokens["refresh_token"], **changes)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert await opens(signed_in, tokens["access_token"])
    assert (await refresh(signed_in, tokens["refresh_token"])).status_code == 200
    events = await web.events(house.domain.name)
    assert "refresh.repeated" not in events
    if error != "invalid_client":
        assert "token.refused" in events


async def test_a_doubled_parameter_is_refused(signed_in: Browser) -> None:
    tokens = await tokens_of(signed_in)
    text = f"grant_type=refresh_token&client_id=ledger&refresh_token={tokens['refresh_token']}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await signed_in.send(
        "POST", "/oauth/token", headers=form, content=f"{text}&refresh_token={tokens['refresh_token']}"
    )
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert (await refresh(signed_in, tokens["refresh_token"])).status_code == 200


async def test_a_token_that_was_altered_in_any_place_is_none(web: WebAccess, signed_in: Browser) -> None:
    tokens = await tokens_of(signed_in)
    token = tokens["refresh_token"]
    for at in range(0, len(token), 7):
        altered = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert (await refresh(signed_in, altered)).json()["error"] == "invalid_grant"
    assert (await refresh(signed_in, token)).status_code == 200


async def test_a_refresh_token_of_one_domain_is_worth_nothing_on_another(
    web: WebAccess, signed_in: Browser
) -> None:
    elsewhere = Browser(web, await furnish(web))
    tokens = await tokens_of(signed_in)
    assert (await refresh(elsewhere, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await refresh(signed_in, tokens["refresh_token"])).status_code == 200
    await elsewhere.close()


async def test_a_scope_is_narrowed_for_one_token_and_the_grant_keeps_its_own(signed_in: Browser) -> None:
    tokens = await tokens_of(signed_in, scope=WIDE)
    narrow = await again(signed_in, tokens["refresh_token"], scope="openid tickets:read:own")
    assert narrow["scope"] == "openid tickets:read:own"
    wide = await again(signed_in, narrow["refresh_token"])
    assert wide["scope"] == tokens["scope"]


async def test_what_the_person_may_no_longer_do_is_not_in_the_next_token(
    signed_in: Browser, house: House
) -> None:
    tokens = await tokens_of(signed_in, scope=WIDE)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.role set scopes = '{announcements:read}' where name = 'resident'"
        )
    assert (await again(signed_in, tokens["refresh_token"]))[
        "scope"
    ] == "openid profile email announcements:read"


async def test_a_client_without_the_grant_gets_no_refresh_token(signed_in: Browser, house: House) -> None:
    await add_client(house, "plain", grant_types=("authorization_code",))
    code = await get_code(signed_in, client_id="plain")
    tokens = (await redeem(signed_in, code, client_id="plain")).json()
    assert "refresh_token" not in tokens
    response = await refresh(signed_in, "x" * 92, client_id="plain")
    assert response.json()["error"] == "unauthorized_client"


async def test_a_replayed_code_ends_its_refresh_tokens(
    web: WebAccess, signed_in: Browser, house: House
) -> None:
    code = await get_code(signed_in)
    tokens = (await redeem(signed_in, code)).json()
    await redeem(signed_in, code)
    assert (await refresh(signed_in, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    principal = await web.tokens.verify(house.domain, tokens["access_token"])
    with pytest.raises(NoSession):
        await web.sessions.open_by_id(house.domain, principal.session)


@pytest.mark.parametrize("shown", ["access_token", "refresh_token"])
async def test_revoking_either_token_ends_both(signed_in: Browser, shown: str) -> None:
    tokens = await tokens_of(signed_in)
    form = {"token": tokens[shown], "client_id": "other"}
    assert (await signed_in.send("POST", "/oauth/revoke", headers={}, data=form)).status_code == 200
    assert await opens(signed_in, tokens["access_token"])
    hinted = {"token": tokens[shown], "client_id": "ledger", "token_type_hint": "nonsense"}
    assert (await signed_in.send("POST", "/oauth/revoke", headers={}, data=hinted)).status_code == 200
    assert not await opens(signed_in, tokens["access_token"])
    assert (await refresh(signed_in, tokens["refresh_token"])).json()["error"] == "invalid_grant"
