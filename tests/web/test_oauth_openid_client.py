"""The npm package openid-client, unmodified, as third-party clients: real TLS, real HTTP.

The flows run one after the other in one Node process; each test says what one of them has to come to.
"""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.access import EMAIL, NAME, House, RunningClock
from support.browser import WebAccess
from support.factors import add_app
from support.npm_clients import KINDS, Ran, tell
from support.served import run_npm, serve
from troth.access.oauth.logout_notices import EVENT, Delivery, LogoutNotices
from troth.access.sessions import ONE_FACTOR, TWO_FACTORS
from troth.core.ca import Authority, Subject, write_leaf
from troth.core.db import Database
from troth.hosting.ports import free_ports

DETAIL = {"type": "troth_data", "collection": "tickets", "actions": ["read"], "own": True}


AFTERWARDS = "https://ledger.example/bye"


def partner(folder: Path) -> tuple[dict[str, Any], Delivery]:
    """Where a client's own server listens for the end of sessions, and how the platform reaches it there."""
    now = datetime.now(UTC)
    authority = Authority.open(folder, "partner", now=now)
    subject = Subject(common_name="localhost", dns=("localhost",), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), folder, "listener")
    trust = ssl.create_default_context(cafile=authority.certificate_file)
    listener = {"port": free_ports(1)[0], "certificate": str(leaf.certificate), "key": str(leaf.key)}
    return listener, Delivery(trust, private=True)


async def tell_clients(web: WebAccess, house: House, delivery: Delivery) -> None:
    """What the keeper does all the time: deliver notices of ended sessions."""
    port = int(house.domain.issuer.rpartition(":")[2])
    notices = LogoutNotices(web.owner, web.keys, delivery, web.clock, port=port)
    while True:
        await notices.work()
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
async def ran(
    database: Database,
    owner_database: Database,
    auditor_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    web = WebAccess(database, owner_database, auditor_database, clock=RunningClock())
    folder = tmp_path_factory.mktemp("served")
    listener, delivery = partner(folder)
    kind = {
        "token_endpoint_auth_method": "client_secret_basic",
        "post_logout_redirect_uris": (AFTERWARDS,),
        "backchannel_logout_uri": f"https://localhost:{listener['port']}/ended",
    }
    async with serve(web, folder) as served, asyncio.TaskGroup() as tasks:
        house = served.house
        asked = await tell(
            served,
            {**KINDS, "partner": kind},
            detail=DETAIL,
            acr=TWO_FACTORS,
            app=(await add_app(house)).hex(),
            afterwards=AFTERWARDS,
            listener=listener,
        )
        telling = tasks.create_task(tell_clients(web, house, delivery))
        seen = await run_npm("openid_client_alone.mjs", asked)
        telling.cancel()
    return Ran(house, seen)


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


async def test_a_client_signs_the_person_out_and_is_told_when_it_is_done(ran: Ran) -> None:
    seen = ran["signedOut"]
    assert seen["before"] == 200
    assert seen["refused"] == 400
    assert seen["left"] == f"{AFTERWARDS}?state=bye"
    assert seen["events"] == {EVENT: {}}
    assert seen["same"] is True
    assert (seen["after"], seen["renewed"]) == ("invalid_token", "invalid_grant")
