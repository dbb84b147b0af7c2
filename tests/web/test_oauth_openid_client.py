"""The npm package openid-client, unmodified, as third-party clients: real TLS, real HTTP.

The flows run one after the other in one Node process; each test says what one of them has to come to.
"""

import pytest

from support.access import EMAIL, NAME, RunningClock
from support.browser import WebAccess
from support.factors import add_app
from support.npm_clients import Ran, tell
from support.served import run_npm, serve
from troth.access.sessions import ONE_FACTOR, TWO_FACTORS
from troth.core.db import Database

DETAIL = {"type": "troth_data", "collection": "tickets", "actions": ["read"], "own": True}


@pytest.fixture(scope="module")
async def ran(
    database: Database,
    owner_database: Database,
    auditor_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    web = WebAccess(database, owner_database, auditor_database, clock=RunningClock())
    async with serve(web, tmp_path_factory.mktemp("served")) as served:
        app = (await add_app(served.house)).hex()
        asked = await tell(served, detail=DETAIL, acr=TWO_FACTORS, app=app)
        return Ran(served.house, await run_npm("openid_client_alone.mjs", asked))


async def test_code_and_pkce(ran: Ran) -> None:
    seen = ran["code"]
    assert seen["scope"] == "openid profile email tickets:read:own"
    assert seen["expires_in"] in (299, 300)
    assert seen["claims"]["sub"] == str(ran.house.person)
    assert (seen["userinfo"]["name"], seen["userinfo"]["email"]) == (NAME, EMAIL)
    assert seen["opened"] == 200
    assert seen["revoked"] == "invalid_token"
    assert seen["replayed"] == "invalid_grant"


async def test_refresh_tokens_rotate_and_a_replay_ends_the_grant(ran: Ran) -> None:
    seen = ran["refreshed"]
    assert (seen["same"], seen["opened"]) == (True, 200)
    assert (seen["replayed"], seen["after"]) == ("invalid_grant", "invalid_token")


async def test_a_request_that_was_pushed(ran: Ran) -> None:
    seen = ran["pushed"]
    assert sorted(seen["query"]) == ["client_id", "request_uri"]
    assert seen["opened"] == 200


async def test_a_request_that_was_signed_by_a_client_with_a_key(ran: Ran) -> None:
    seen = ran["signed"]
    assert sorted(seen["query"]) == ["client_id", "request"]
    assert seen["opened"] == 200


async def test_tokens_bound_to_a_key(ran: Ran) -> None:
    seen = ran["bound"]
    # The package answers the nonces that the token endpoint and the API ask for by itself.
    assert (seen["type"], seen["opened"], seen["renewed"]) == ("dpop", 200, 200)
    assert (seen["bearer"], seen["keyless"]) == ("invalid_token", "invalid_grant")


async def test_introspection_follows_revocation(ran: Ran) -> None:
    seen = ran["told"]
    assert (seen["before"]["active"], seen["before"]["client_id"]) == (True, "key")
    assert seen["after"] == {"active": False}
    assert seen["stranger"] == "invalid_client"


async def test_a_device_is_connected_or_refused(ran: Ran) -> None:
    assert ran["device"] == {"opened": 200, "refused": "access_denied"}


async def test_authorization_details(ran: Ran) -> None:
    seen = ran["detailed"]
    assert seen["granted"] == [DETAIL]
    assert seen["opened"] == 200
    assert seen["refused"] == "invalid_authorization_details"


async def test_more_is_proved_when_more_is_asked_for(ran: Ran) -> None:
    seen = ran["steppedUp"]
    assert (seen["before"]["acr"], seen["after"]["acr"]) == (ONE_FACTOR, TWO_FACTORS)
    assert set(seen["after"]["amr"]) >= {"pwd", "otp"}
    assert seen["after"]["auth_time"] >= seen["before"]["auth_time"]
    assert seen["unknown"] == "unmet_authentication_requirements"
