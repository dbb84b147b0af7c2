"""Codes and refresh tokens in any order and at once, against the real database.

What must hold whatever happens: of a family at most one token is good, a replay never yields one, of a dead
family nothing works, and callers that race within the overlap get the same successor.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.access import CALLBACK, Access, House, furnish
from support.client import CHALLENGE, VERIFIER
from support.clients import add_client
from troth.access.errors import NoSession, OAuthError
from troth.access.oauth.authorize import AuthorizationRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.decision import Granting
from troth.access.oauth.grant import TokenResponse
from troth.access.scopes import scope_set
from troth.access.sessions import Session

T = TypeVar("T")

SCOPE = "openid tickets:read:own"


class Family(msgspec.Struct):
    """What the test knows of one grant: every refresh token of it, the last of which is the good one."""

    code: str
    session: Session
    tokens: list[str]
    access: list[str]
    fresh: bool = False
    dead: bool = False


class Machine(RuleBasedStateMachine):
    """Everything that a client, two of its tabs, and a thief can do."""

    def __init__(self, house: House, clients: tuple[Client, Client], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.house = house
        self.access: Access = house.access
        self.client, self.other = clients
        self.loop = loop
        self.families: list[Family] = []
        self.session, self.cookie = self.sign_in()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def sign_in(self) -> tuple[Session, str]:
        begun = self.wait(self.house.begin())
        return begun.session, begun.token

    async def ask(self, client: Client | None = None, **form: str) -> TokenResponse | str:
        """Tokens, or the error."""
        try:
            return await self.access.token_endpoint.answer(
                self.house.domain, client or self.client, ClientRequest(form=form)
            )
        except OAuthError as error:
            return error.code

    async def renew(self, token: str, client: Client | None = None) -> TokenResponse | str:
        return await self.ask(client, grant_type="refresh_token", refresh_token=token)

    async def redeem(self, code: str) -> TokenResponse | str:
        return await self.ask(grant_type="authorization_code", code=code, code_verifier=VERIFIER)

    def at_once(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        async def all_of_it() -> list[T]:
            return list(await asyncio.gather(*work))

        return self.wait(all_of_it())

    def pick(self, data: st.DataObject) -> Family:
        return data.draw(st.sampled_from(self.families), label="family")

    @rule(callers=st.integers(1, 3))
    def begin(self, callers: int) -> None:
        code = self.wait(self.issue())
        answers = self.at_once(*(self.redeem(code) for _ in range(callers)))
        granted = [answer for answer in answers if isinstance(answer, TokenResponse)]
        assert len(granted) == 1
        family = Family(code, self.session, [granted[0].refresh_token], [granted[0].access_token])
        family.dead = callers > 1
        self.families.append(family)

    async def issue(self) -> str:
        asked = AuthorizationRequest(
            client=self.client.id, redirect_uri=CALLBACK, scope=SCOPE, challenge=CHALLENGE, asked_at=0
        )
        granted = await self.access.decisions.issue(
            self.house.domain, asked, self.session, Granting(scope_set(SCOPE.split()))
        )
        return granted.location.partition("code=")[2].partition("&")[0]

    @precondition(lambda self: self.families)
    @rule(data=st.data())
    def replay_the_code(self, data: st.DataObject) -> None:
        family = self.pick(data)
        assert self.wait(self.redeem(family.code)) == "invalid_grant"
        family.dead = True

    @precondition(lambda self: self.families)
    @rule(data=st.data(), callers=st.integers(1, 4))
    def refresh(self, data: st.DataObject, callers: int) -> None:
        family = self.pick(data)
        answers = self.at_once(*(self.renew(family.tokens[-1]) for _ in range(callers)))
        if family.dead:
            assert set(answers) == {"invalid_grant"}
            return
        granted = [answer for answer in answers if isinstance(answer, TokenResponse)]
        assert len(granted) == callers
        assert len({answer.refresh_token for answer in granted}) == 1
        assert granted[0].refresh_token not in family.tokens
        family.tokens.append(granted[0].refresh_token)
        family.access += [answer.access_token for answer in granted]
        family.fresh = True

    @precondition(lambda self: len(self.families) > 1)
    @rule(tabs=st.integers(1, 2))
    def refresh_all_families_at_once(self, tabs: int) -> None:
        """More than go to the database one by one: they share calls, and each gets its own."""
        asked = [family for family in self.families for _ in range(tabs)]
        answers = self.at_once(*(self.renew(family.tokens[-1]) for family in asked))
        for family in self.families:
            mine = [answer for one, answer in zip(asked, answers, strict=True) if one is family]
            if family.dead:
                assert set(mine) == {"invalid_grant"}
                continue
            granted = [answer for answer in mine if isinstance(answer, TokenResponse)]
            assert len(granted) == tabs
            assert len({answer.refresh_token for answer in granted}) == 1
            family.tokens.append(granted[0].refresh_token)
            family.access += [answer.access_token for answer in granted]
            family.fresh = True

    @precondition(lambda self: any(len(family.tokens) > 1 for family in self.families))
    @rule(data=st.data())
    def use_an_old_token(self, data: st.DataObject) -> None:
        family = data.draw(st.sampled_from([one for one in self.families if len(one.tokens) > 1]))
        at = data.draw(st.integers(0, len(family.tokens) - 2), label="generation")
        answer = self.wait(self.renew(family.tokens[at]))
        if not family.dead and family.fresh and at == len(family.tokens) - 2:
            assert isinstance(answer, TokenResponse)
            assert answer.refresh_token == family.tokens[-1]
            family.access.append(answer.access_token)
            return
        assert answer == "invalid_grant"
        family.dead = True

    @precondition(lambda self: any(len(family.tokens) > 2 for family in self.families))
    @rule(data=st.data())
    def race_a_thief(self, data: st.DataObject) -> None:
        family = data.draw(st.sampled_from([one for one in self.families if len(one.tokens) > 2]))
        mine, stolen = self.at_once(self.renew(family.tokens[-1]), self.renew(family.tokens[0]))
        assert stolen == "invalid_grant"
        if isinstance(mine, TokenResponse):
            family.tokens.append(mine.refresh_token)
            family.access.append(mine.access_token)
        family.dead = True

    @precondition(lambda self: self.families)
    @rule(data=st.data())
    def let_time_pass(self, data: st.DataObject) -> None:
        family = self.pick(data)
        self.wait(self.shift())
        for one in self.families:
            one.fresh = False
        assert not family.fresh

    async def shift(self) -> None:
        async with self.access.owner.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(self.house.tenant.id))
            await connection.execute(
                "update troth.refresh_family set rotated_at = rotated_at - interval '11 seconds'"
            )

    @precondition(lambda self: self.families)
    @rule(data=st.data())
    def another_client_tries(self, data: st.DataObject) -> None:
        family = self.pick(data)
        assert self.wait(self.renew(family.tokens[-1], self.other)) == "invalid_grant"

    @precondition(lambda self: self.families)
    @rule(data=st.data(), newest=st.booleans())
    def revoke(self, data: st.DataObject, newest: bool) -> None:
        family = self.pick(data)
        shown = ClientRequest(form={"token": family.tokens[-1] if newest else family.access[0]})
        self.wait(self.access.revocation.revoke(self.house.domain, self.client, shown))
        family.dead = True

    @rule()
    def sign_out(self) -> None:
        self.wait(self.access.sessions.end(self.house.domain, self.cookie))
        for family in self.families:
            family.dead = family.dead or family.session.id == self.session.id
        self.session, self.cookie = self.sign_in()

    @invariant()
    def at_most_one_token_of_a_family_is_good(self) -> None:
        for family in self.families:
            alive = self.at_once(*(self.is_active(token) for token in family.tokens))
            assert alive == [False] * (len(alive) - 1) + [not family.dead]
            opened = self.at_once(*(self.opens(token) for token in family.access[-3:]))
            assert set(opened) == {not family.dead}

    async def is_active(self, token: str) -> bool:
        shown = ClientRequest(form={"token": token})
        return (await self.access.introspection.look(self.house.domain, self.client, shown)).active

    async def opens(self, token: str) -> bool:
        principal = await self.access.tokens.verify(self.house.domain, token)
        try:
            await self.access.sessions.open_by_id(self.house.domain, principal.session)
        except NoSession:
            return False
        return True


async def test_codes_and_refresh_tokens_keep_their_promises_in_any_order(access: Access) -> None:
    house = await furnish(access)
    for name in ("machine", "stranger"):
        await add_client(house, name, token_endpoint_auth_method="client_secret_post")
    found = [await access.clients.find(house.domain, name) for name in ("machine", "stranger")]
    mine, other = found
    assert mine is not None
    assert other is not None
    loop = asyncio.get_running_loop()
    checks = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
    calm = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=checks)

    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(house, (mine, other), loop)

    await asyncio.to_thread(run_state_machine_as_test, Here, settings=calm)
