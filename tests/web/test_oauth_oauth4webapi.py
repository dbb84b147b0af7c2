"""The npm package oauth4webapi, unmodified, as third-party clients of every kind: real TLS, real HTTP.

The flows run one after the other in one Node process; each test says what one of them has to come to.
"""

import pytest

from support.access import EMAIL, NAME, RunningClock
from support.browser import WebAccess
from support.clients import invite
from support.npm_clients import Ran, tell
from support.served import run_npm, serve
from troth.core.db import Database


@pytest.fixture(scope="module")
async def ran(
    database: Database,
    owner_database: Database,
    auditor_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    web = WebAccess(database, owner_database, auditor_database, clock=RunningClock())
    async with serve(web, tmp_path_factory.mktemp("served")) as served:
        asked = await tell(served, invitation=await invite(served.house))
        return Ran(served.house, await run_npm("oauth4webapi.mjs", asked))


async def test_code_and_pkce(ran: Ran) -> None:
    seen = ran["code"]
    assert (seen["scope"], seen["token_type"]) == ("openid profile email tickets:read:own", "bearer")
    assert seen["claims"]["sub"] == str(ran.house.person)
    assert (seen["userinfo"]["name"], seen["userinfo"]["email"]) == (NAME, EMAIL)
    assert seen["opened"] == 200
    assert (seen["judged"]["client_id"], seen["judged"]["scope"]) == ("ledger", seen["scope"])
    assert seen["stolen"] == seen["replayed"] == "invalid_grant"
    # What the code had given dies when somebody shows it again (RFC 6749 section 4.1.2).
    assert seen["after"] == "invalid_token"


async def test_a_pushed_request_is_good_once_and_its_clients_own(ran: Ran) -> None:
    seen = ran["pushed"]
    assert sorted(seen["query"]) == ["client_id", "request_uri"]
    assert seen["opened"] == 200
    assert seen["again"] == 400
    assert seen["elsewhere"] == "invalid_request"
    assert seen["stranger"] == "invalid_client"


async def test_a_signed_request_is_its_signers(ran: Ran) -> None:
    seen = ran["signed"]
    assert seen["opened"] == seen["pushed"] == 200
    # Nothing of it can be believed, the redirect URI included: the person is told, and stays.
    assert seen["forged"] == "page 400"


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_a_client_with_a_secret_shows_it_in_its_own_way(ran: Ran, method: str) -> None:
    seen = ran["secrets"][method]
    assert seen["wrong"] == seen["bare"] == seen["otherwise"] == "invalid_client"
    # None of these used the code up.
    assert seen["opened"] == 200


async def test_an_assertion_is_for_us_and_good_once(ran: Ran) -> None:
    seen = ran["assertions"]
    refused = {name: seen[name] for name in ("misdirected", "expired", "forged", "replayed")}
    assert set(refused.values()) == {"invalid_client"}, refused
    assert (seen["active"], seen["opened"]) == (True, 200)


async def test_tokens_bound_to_a_key(ran: Ran) -> None:
    seen = ran["bound"]
    # The nonce is asked for at both ends, and the package answers.
    assert seen["challenged"] is seen["apiChallenged"] is True
    assert (seen["token_type"], seen["opened"], seen["renewed"]) == ("dpop", 200, 200)
    # Another API can tell as well, from the token and the proof alone (RFC 9068, RFC 9449 section 7).
    assert seen["judged"]["cnf"].keys() == {"jkt"}
    assert seen["unproved"] == "OAUTH_INVALID_RESPONSE"
    assert seen["replayed"] == 401
    assert seen["bearer"] == seen["stolen"] == "invalid_token"
    assert seen["keyless"] == seen["otherKey"] == "invalid_grant"


async def test_a_replayed_refresh_token_ends_the_grant(ran: Ran) -> None:
    seen = ran["refreshed"]
    assert (seen["different"], seen["opened"]) == (3, 200)
    assert seen["other"] == "invalid_grant"
    assert seen["replayed"] == seen["newest"] == "invalid_grant"
    assert seen["after"] == "invalid_token"


async def test_introspection_tells_a_client_of_its_own_tokens(ran: Ran) -> None:
    seen = ran["introspected"]
    assert (seen["told"]["active"], seen["told"]["client_id"]) == (True, "basic")
    assert seen["told"]["sub"] == str(ran.house.person)
    assert seen["refresh"] is seen["sealed"] is True
    assert seen["others"] == {"active": False}
    assert seen["stranger"] == seen["anybody"] == "invalid_client"


async def test_revocation_ends_a_clients_own_grant(ran: Ran) -> None:
    seen = ran["revoked"]
    assert seen["stranger"] == "invalid_client"
    assert seen["before"] == 200
    assert (seen["renewal"], seen["after"]) == ("invalid_grant", "invalid_token")


async def test_a_device_waits_for_the_person(ran: Ran) -> None:
    seen = ran["device"]
    assert (seen["pending"], seen["hasty"]) == ("authorization_pending", "slow_down")
    assert seen["refused"] == "access_denied"
    assert (seen["opened"], seen["scope"]) == (200, "openid profile email tickets:read:own")
    assert (seen["again"], seen["after"]) == ("invalid_grant", "invalid_token")


async def test_an_invited_client_registers_itself(ran: Ran) -> None:
    seen = ran["registered"]
    assert seen["uninvited"] == seen["again"] == "invalid_token"
    assert seen["unfit"] == "invalid_redirect_uri"
    assert (seen["method"], seen["opened"]) == ("client_secret_basic", 200)
