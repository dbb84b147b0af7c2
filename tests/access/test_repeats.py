"""The connection is lost after the work was done: what is repeated leaves one row and gives its answer, all
else is told as unknown, and nothing is done twice."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from support.access import EMAIL, House, furnish, sign_in
from support.browser import Browser, WebAccess
from support.client import GOOD, get_code, hidden, redeem
from support.client_keys import EC_KEY, public_jwk, sign
from support.clients import add_client, invite
from support.documents import EVERYTHING, collections
from support.factors import add_app, code_of, half_signed_in, require_factor
from support.losing import LosingDatabase, losing
from support.postgres import Server
from troth.access.accounts.people import Profile
from troth.access.accounts.registrar import NewPerson, Registrar
from troth.access.errors import FactorRefused, SignInRefused
from troth.access.factors.second import Origin
from troth.access.oauth import refresh_grant
from troth.access.oauth.assertions import ASSERTION_TYPE
from troth.access.oauth.clients import DEVICE_GRANT, REFRESH_GRANT
from troth.access.ownership import NameServers
from troth.access.roles import list_roles, put_role
from troth.access.tenancy import Tenancy
from troth.core.db import Database
from troth.core.errors import OutcomeUnknown
from troth.core.policy import TenantPolicy
from troth.core.secret import new_token
from troth.data.documents import Documents
from troth.data.grants import Caller, read_grants
from troth.data.roles import APP, OWNER

SIGNER: dict[str, Any] = {
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_signing_alg": "ES256",
}


class Lossy(msgspec.Struct, frozen=True):
    """A house whose databases lose their connection when told to."""

    house: House
    app: LosingDatabase
    owner: LosingDatabase
    browser: Browser

    @property
    def web(self) -> WebAccess:
        return cast("WebAccess", self.house.access)

    async def rows(self, table: str, where: str = "true") -> int:
        async with self.owner.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(self.house.tenant.id))
            count: int = await connection.fetchval(
                f"select count(*) from troth.{table} where tenant_id = $1 and {where}",  # noqa: S608
                self.house.tenant.id,
            )
        return count

    async def told(self, event: str) -> int:
        """How often the trail of this tenant has it."""
        return await self.web.auditor.fetchval(
            "select count(*) from troth.audit_event where tenant_id = $1 and event = $2",
            self.house.tenant.id,
            event,
        )


@pytest.fixture
async def lossy(postgres: Server, auditor_database: Database) -> AsyncGenerator[Lossy]:
    async with losing(postgres.target(APP)) as app, losing(postgres.target(OWNER)) as owner:
        web = WebAccess(app, owner, auditor_database)
        house = await furnish(web)
        browser = Browser(web, house)
        yield Lossy(house, app, owner, browser)
        await browser.close()


# Repeated -------------------------------------------------------------------------------------------------


async def test_a_session_is_begun_once_and_opens(lossy: Lossy) -> None:
    with lossy.app.lost_after("begin_session"):
        begun = await lossy.house.begin()
    assert (await lossy.web.sessions.open(lossy.house.domain, begun.token)).id == begun.session.id
    assert (await lossy.told("session.begun"), await lossy.rows("session")) == (1, 1)


async def test_a_session_is_raised_once_and_opens_with_its_new_cookie(lossy: Lossy) -> None:
    begun = await lossy.house.begin()
    with lossy.app.lost_after("raise_session"):
        raised = await lossy.web.sessions.raise_to(lossy.house.domain, begun.token, ("pwd", "otp"))
    assert (await lossy.web.sessions.open(lossy.house.domain, raised.token)).amr == ("pwd", "otp")
    assert await lossy.told("session.raised") == 1


async def test_a_session_ends_once_though_the_first_end_was_never_heard_of(lossy: Lossy) -> None:
    begun = await lossy.house.begin()
    with lossy.app.lost_after("end_session"):
        await lossy.web.sessions.end(lossy.house.domain, begun.token)
    assert await lossy.told("session.ended") == 1


async def test_a_failed_sign_in_stands_in_the_trail_once(lossy: Lossy) -> None:
    with lossy.app.lost_after("record_failure"), pytest.raises(SignInRefused):
        await sign_in(lossy.house, EMAIL, "not the password")
    assert await lossy.told("sign_in.failed") == 1


async def test_half_a_sign_in_is_kept_once(lossy: Lossy) -> None:
    await require_factor(lossy.house)
    await add_app(lossy.house)
    with lossy.app.lost_after("begin_pending"):
        token = await half_signed_in(lossy.house)
    assert await lossy.web.pending_sign_ins.open(lossy.house.domain, token)
    assert await lossy.told("sign_in.half") == 1


async def test_an_app_that_was_added_is_not_taken_for_somebody_elses(lossy: Lossy) -> None:
    with lossy.app.lost_after("add_app"):
        await add_app(lossy.house)
    assert (await lossy.told("factor.added"), await lossy.rows("authenticator_app")) == (1, 1)


async def test_the_recovery_codes_that_are_told_are_the_ones_that_count(lossy: Lossy) -> None:
    with lossy.app.lost_after("set_recovery_codes"):
        codes = await lossy.web.recovery_codes.renew(lossy.house.domain, lossy.house.person)
    await lossy.web.recovery_codes.accept(lossy.house.domain, lossy.house.person, codes[0])
    assert await lossy.told("recovery_codes.made") == 1


async def test_a_notice_is_ordered_once(lossy: Lossy) -> None:
    with lossy.app.lost_after("tell_person"):
        await lossy.web.notices.tell(lossy.house.domain, lossy.house.person, "new_device", language="en")
    assert await lossy.rows("mail_order", "kind = 'new_device'") == 1


@pytest.mark.parametrize("lost", ["remember_consent", "issue_code", "redeem_code"])
async def test_a_client_is_connected_though_a_step_was_lost(lossy: Lossy, lost: str) -> None:
    lossy.browser.cookie = (await lossy.house.begin()).token
    with lossy.app.lost_after(f"troth.{lost}("):
        tokens = await redeem(lossy.browser, await get_code(lossy.browser))
    assert tokens.status_code == 200, tokens.text
    assert await lossy.rows("session", "parent_id is not null") == 1
    assert (await lossy.told("consent.given"), await lossy.told("grant.begun")) == (1, 1)
    assert await lossy.told("code.replayed") == 0


async def test_a_code_that_is_refused_is_refused_once_in_the_trail(lossy: Lossy) -> None:
    lossy.browser.cookie = (await lossy.house.begin()).token
    code = await get_code(lossy.browser)
    with lossy.app.lost_after("redeem_code"):
        refused = await redeem(lossy.browser, code, code_verifier="x" * 43)
    assert refused.json()["error"] == "invalid_grant"
    assert await lossy.told("code.refused") == 1


async def test_a_rotation_that_was_lost_is_no_replay_however_late_it_is_repeated(
    lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for the next leader may take longer than a token gives its successor again."""
    lossy.browser.cookie = (await lossy.house.begin()).token
    first = (await redeem(lossy.browser, await get_code(lossy.browser))).json()
    monkeypatch.setattr(refresh_grant, "OVERLAP_OF_ANYBODY", timedelta(0))
    with lossy.app.lost_after("renew_grants("):
        second = await refresh(lossy, first["refresh_token"])
    assert (await refresh(lossy, second["refresh_token"]))["access_token"]
    assert (await lossy.told("refresh.replayed"), await lossy.told("refresh.repeated")) == (0, 0)


async def test_the_same_successor_again_is_told_to_the_trail_once(lossy: Lossy) -> None:
    lossy.browser.cookie = (await lossy.house.begin()).token
    first = (await redeem(lossy.browser, await get_code(lossy.browser))).json()
    second = await refresh(lossy, first["refresh_token"])
    with lossy.app.lost_after("renew_grant("):
        again = await refresh(lossy, first["refresh_token"])
    assert again["refresh_token"] == second["refresh_token"]
    assert (await lossy.told("refresh.replayed"), await lossy.told("refresh.repeated")) == (0, 1)


async def test_rotations_that_were_lost_together_are_no_replays_either(
    lossy: Lossy, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy.browser.cookie = (await lossy.house.begin()).token
    codes = [await get_code(lossy.browser, prompt="consent") for _ in range(6)]
    firsts = [(await redeem(lossy.browser, code)).json() for code in codes]
    monkeypatch.setattr(refresh_grant, "OVERLAP_OF_ANYBODY", timedelta(0))
    with lossy.app.lost_after("renew_grants("):
        seconds = await asyncio.gather(*(refresh(lossy, first["refresh_token"]) for first in firsts))
    thirds = [await refresh(lossy, second["refresh_token"]) for second in seconds]
    assert len({third["refresh_token"] for third in thirds}) == 6
    assert (await lossy.told("refresh.replayed"), await lossy.told("refresh.repeated")) == (0, 0)


async def refresh(lossy: Lossy, token: str) -> dict[str, Any]:
    form = {"grant_type": "refresh_token", "client_id": "ledger", "refresh_token": token}
    response = await lossy.browser.send("POST", "/oauth/token", headers={}, data=form)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_device_that_asks_once_is_not_told_that_it_asks_too_often(lossy: Lossy) -> None:
    await add_client(lossy.house, "television", grant_types=(DEVICE_GRANT, REFRESH_GRANT))
    with lossy.app.lost_after("begin_device"):
        begun = await device(lossy, "/oauth/device", scope="tickets:read")
    ask = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
    with lossy.app.lost_after("poll_device"):
        assert (await device(lossy, "/oauth/token", **ask))["error"] == "authorization_pending"
    assert (await device(lossy, "/oauth/token", **ask))["error"] == "slow_down"
    lossy.browser.cookie = (await lossy.house.begin()).token
    page = await lossy.browser.post("/device", {"user_code": begun["user_code"]})
    shown = {"user_code": hidden(page.text, "user_code"), "decision": "allow"}
    await lossy.browser.post("/device/decision", shown)
    with lossy.app.lost_after("poll_device"):
        assert (await device(lossy, "/oauth/token", **ask))["access_token"]
    assert (await lossy.told("grant.begun"), await lossy.told("device.replayed")) == (1, 0)


async def device(lossy: Lossy, path: str, **form: str) -> dict[str, Any]:
    response = await lossy.browser.send("POST", path, headers={}, data={"client_id": "television", **form})
    return response.json()


async def test_a_client_registers_and_replaces_itself_once(lossy: Lossy) -> None:
    wish = {"redirect_uris": [GOOD["redirect_uri"]], "client_name": "Own"}
    headers = {"Authorization": f"Bearer {await invite(lossy.house)}"}
    with lossy.app.lost_after("register_client"):
        told = (await lossy.browser.send("POST", "/oauth/register", headers=headers, json=wish)).json()
    path = told["registration_client_uri"].removeprefix(lossy.browser.origin)
    headers = {"Authorization": f"Bearer {told['registration_access_token']}"}
    changed = {**wish, "client_id": told["client_id"], "client_name": "Mine"}
    with lossy.app.lost_after("replace_client"):
        again = await lossy.browser.send("PUT", path, headers=headers, json=changed)
    headers = {"Authorization": f"Bearer {again.json()['registration_access_token']}"}
    shown = await lossy.browser.send("GET", path, headers=headers)
    assert shown.json()["client_name"] == "Mine"
    assert (await lossy.told("client.registered"), await lossy.told("client.replaced")) == (1, 1)


async def test_the_operators_changes_of_people_count_once(lossy: Lossy) -> None:
    tenant, person, web = lossy.house.tenant.id, lossy.house.person, lossy.web
    registrar = Registrar(lossy.owner, web.sealer)
    with lossy.owner.lost_after("add_people"):
        assert await registrar.add(tenant, [NewPerson(profile=Profile("b@example.org", "B"))]) == (True,)
    with lossy.owner.lost_after("set_password"):
        await web.registrar.set_password(tenant, person, "mauve otters juggle", web.passwords)
    for disabled in (True, False):
        with lossy.owner.lost_after("set_disabled"):
            await registrar.set_disabled(tenant, person, disabled)
    events = ("people.added", "password.changed", "person.disabled", "person.enabled")
    assert [await lossy.told(event) for event in events] == [1, 1, 1, 1]


async def test_a_session_that_was_begun_between_two_attempts_at_a_password_goes_on(lossy: Lossy) -> None:
    tenant, web = lossy.house.tenant.id, lossy.web
    hashed = await web.passwords.hash("mauve otters juggle")
    change = "select troth.set_password($1, $2, $3)"
    await lossy.owner.execute(change, tenant, lossy.house.person, hashed, idempotent=True)
    begun = await lossy.house.begin()
    await lossy.owner.execute(change, tenant, lossy.house.person, hashed, idempotent=True)
    assert await web.sessions.open(lossy.house.domain, begun.token)


async def test_a_customer_is_added_once(lossy: Lossy) -> None:
    tenancy = Tenancy(lossy.owner, frozenset({"app"}), NameServers(("127.0.0.1",), 9))
    slug = f"{lossy.house.tenant.slug}-b"
    with lossy.owner.lost_after("insert into troth.tenant"):
        await tenancy.add_tenant(slug, "Second", TenantPolicy())
    assert (await tenancy.tenant(slug)).name == "Second"


async def test_signing_keys_change_once(lossy: Lossy) -> None:
    with lossy.app.lost_after("add_signing_key"):
        await lossy.web.keys.ring(lossy.house.domain)
    with lossy.app.lost_after("add_signing_key"):
        await lossy.web.keys.rotate(lossy.house.domain)
    states = [key.state for key in await lossy.web.keys.states(lossy.house.domain)]
    assert states == ["next", "signs"]
    assert await lossy.told("signing_key.rotated") == 1


async def test_a_document_is_written_once_and_changed_once(lossy: Lossy) -> None:
    documents, caller = await writer(lossy)
    with lossy.app.lost_after("document_create"):
        made = await documents.create(caller, "tickets", {"title": "first"})
    with lossy.app.lost_after("document_update"):
        changed = await documents.replace(caller, "tickets", made.id, {"title": "second"}, frozenset({1}))
    assert changed.version == 2
    assert await documents_of(lossy) == 1


async def documents_of(lossy: Lossy) -> int:
    return await lossy.web.auditor.fetchval(
        "select count(*) from troth.document where tenant_id = $1", lossy.house.tenant.id
    )


async def writer(lossy: Lossy) -> tuple[Documents, Caller]:
    begun = await lossy.house.begin()
    documents = Documents(lossy.app, lossy.web.ring, collections())
    grants = read_grants(EVERYTHING)
    return documents, Caller(lossy.house.tenant.id, lossy.house.person, begun.session.id, grants)


# Told as unknown ------------------------------------------------------------------------------------------


async def test_a_code_of_an_app_is_used_up_at_most_once(lossy: Lossy) -> None:
    key = await add_app(lossy.house)
    token = await half_signed_in(lossy.house)
    code = code_of(lossy.house, key)
    finish = lossy.web.second_factor.by_app
    with lossy.app.lost_after("use_code"), pytest.raises(OutcomeUnknown):
        await finish(lossy.house.domain, token, code, Origin())
    with pytest.raises(FactorRefused):
        await finish(lossy.house.domain, token, code, Origin())
    lossy.web.clock.advance(seconds=60)
    assert await finish(lossy.house.domain, token, code_of(lossy.house, key), Origin())


async def test_a_guess_at_a_password_is_counted_once(lossy: Lossy) -> None:
    with lossy.app.lost_after("try_sign_in"), pytest.raises(OutcomeUnknown):
        await sign_in(lossy.house)
    assert await lossy.rows("attempt", "count = 1") == await lossy.rows("attempt") > 0


async def test_a_pushed_request_is_taken_once_and_its_person_is_told(lossy: Lossy) -> None:
    lossy.browser.cookie = (await lossy.house.begin()).token
    pushed = await lossy.browser.send("POST", "/oauth/par", headers={}, data=GOOD)
    uri = f"/oauth/authorize?client_id=ledger&request_uri={pushed.json()['request_uri']}"
    with lossy.app.lost_after("take_request"):
        page = await lossy.browser.get(uri)
    assert page.status_code == 503
    assert "it is not known whether it was done" in page.text
    assert "retry-after" not in page.headers
    assert await lossy.rows("pushed_request") == 0


async def test_a_client_is_told_in_oauths_own_shape_and_begins_anew(lossy: Lossy) -> None:
    keys = (public_jwk(EC_KEY, kid="k"),)
    await add_client(lossy.house, "signer", jwks=keys, **SIGNER)
    lossy.browser.cookie = (await lossy.house.begin()).token
    code = await get_code(lossy.browser, client_id="signer")
    with lossy.app.lost_after("spend_assertion"):
        refused = await redeem(lossy.browser, code, client_id="signer", **assertion(lossy.house))
    assert refused.status_code == 503
    assert refused.json()["error"] == "temporarily_unavailable"
    assert "not known whether this was done" in refused.json()["error_description"]
    assert refused.headers["access-control-allow-origin"] == "*"
    again = await redeem(lossy.browser, code, client_id="signer", **assertion(lossy.house))
    assert again.status_code == 200, again.text
    assert await lossy.rows("spent_assertion") == 2


def assertion(house: House) -> dict[str, str]:
    now = int(house.access.clock.now().timestamp())
    about = {"iss": "signer", "sub": "signer", "aud": house.domain.issuer, "jti": new_token()}
    signed = sign(EC_KEY, {"alg": "ES256", "kid": "k"}, {**about, "iat": now, "exp": now + 60})
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}


async def test_an_ended_session_of_ones_own_is_told_as_unknown(lossy: Lossy) -> None:
    here, there = await lossy.house.begin(), await lossy.house.begin()
    own, domain = lossy.web.own_sessions, lossy.house.domain
    with lossy.app.lost_after("end_own"), pytest.raises(OutcomeUnknown):
        await own.end(domain, here.session, there.session.id)
    assert [one.id for one in await own.sessions(domain, here.session)] == [here.session.id]
    assert await lossy.told("session.ended") == 1


async def test_a_role_that_was_put_is_told_as_unknown_and_has_one_version(lossy: Lossy) -> None:
    tenant = lossy.house.tenant.id
    with lossy.owner.lost_after("put_role"), pytest.raises(OutcomeUnknown):
        await put_role(lossy.owner, tenant, "janitor", ("tickets:read",))
    (role,) = [role for role in await list_roles(lossy.owner, tenant) if role.name == "janitor"]
    assert (role.version, await lossy.told("role.changed")) == (1, 1)


async def test_mail_that_was_taken_is_sent_by_its_next_round_and_not_twice_by_this(lossy: Lossy) -> None:
    await lossy.web.notices.tell(lossy.house.domain, lossy.house.person, "new_device", language="en")
    take = "select * from troth.take_mail($1, $2)"
    with lossy.owner.lost_after("take_mail"), pytest.raises(OutcomeUnknown):
        await lossy.owner.fetch(take, 1000, timedelta(0), idempotent=False)
    assert await lossy.rows("mail_order", "attempts = 1") == 1


async def test_a_document_that_was_removed_is_told_as_unknown(lossy: Lossy) -> None:
    documents, caller = await writer(lossy)
    made = await documents.create(caller, "tickets", {"title": "gone"})
    assert await documents_of(lossy) == 1
    with lossy.app.lost_after("document_delete"), pytest.raises(OutcomeUnknown):
        await documents.delete(caller, "tickets", made.id, None)
    assert await documents_of(lossy) == 0
