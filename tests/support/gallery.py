"""Every page of ours in each of its states, one after the other, as one browser gets to see them."""

import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from playwright.async_api import Page

from support.access import EMAIL, PASSWORD, House
from support.authenticator import Authenticator
from support.client import GOOD
from support.clients import add_client
from support.factors import add_app, code_of, set_factor_policy
from support.post import set_policy
from troth.access.accounts.people import Profile
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import CODE_GRANT, DEVICE_GRANT, REFRESH_GRANT
from troth.access.sessions import TWO_FACTORS, token_hash
from troth.core.names import PENDING_COOKIE, SESSION_COOKIE
from troth.core.secret import new_token

AXE = Path(__file__).parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
DETAILS = [
    {"type": "troth_data", "collection": "tickets", "actions": ["read"], "own": True, "fields": ["title"]},
    {"type": "troth_data", "collection": "announcements", "actions": ["read"]},
]


async def faults(page: Page, *rules: str) -> list[str]:
    """What axe finds, and what does not fit into the window. It is evaluated from outside, for the page's
    policy allows no script."""
    if not await page.evaluate("Boolean(window.axe)"):
        await page.evaluate(AXE.read_text())
    chosen = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": RULES}
    found = await page.evaluate("runOnly => axe.run({runOnly, resultTypes: ['violations']})", chosen)
    wide = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    names = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]
    return names + (["wider than the window"] if wide else [])


class Visitor:
    """Walks through the pages of a house in one page of a browser."""

    def __init__(self, house: House, page: Page) -> None:
        self.house = house
        self.page = page
        self.issuer = house.domain.issuer

    async def walk(self, *parts: str) -> AsyncGenerator[str]:
        """The name of each state, while the page is in it. The house is left as the next part needs it."""
        walks = {
            "strangers": self._strangers,
            "letters": self._letters,
            "clients": self._clients,
            "devices": self._devices,
            "account": self._account,
            "factors": self._factors,
        }
        for part in parts:
            await self.page.context.clear_cookies()
            async for name in walks[part]():
                yield name

    async def go(self, path: str) -> None:
        await self.page.goto(path if path.startswith("https:") else f"{self.issuer}{path}")

    async def fill(self, form: str, **fields: str) -> None:
        """Fill a form in and send it; `form` is what its action ends with."""
        found = self.page.locator(f"form[action$='{form}']").filter(has=self.page.locator("button:visible"))
        for name, value in fields.items():
            await found.locator(f"[name={name}]").first.fill(value)
        async with self.page.expect_navigation():
            await found.locator("button:visible").first.click()

    async def hold(self, name: str, value: str) -> None:
        cookie = {"name": name, "value": value, "url": self.issuer, "secure": True}
        await self.page.context.add_cookies([cookie])  # pyright: ignore[reportArgumentType]

    async def sign_in(self, *amr: str) -> None:
        begun = await self.house.access.sessions.begin(
            self.house.domain, self.house.person, amr=amr or ("pwd",), network="192.0.2.7"
        )
        await self.hold(SESSION_COOKIE, begun.token)

    async def half(self) -> None:
        """The password fitted."""
        needed = await self.house.access.pending_sign_ins.begin(
            self.house.domain, self.house.person, await self._stored()
        )
        assert needed
        await self.hold(PENDING_COOKIE, needed.token)

    async def link(self, kind: str) -> str:
        """What a message leads to."""
        access, tenant, token = self.house.access, self.house.tenant.id, new_token()
        mine = kind not in ("registration",)
        profile = Profile(EMAIL if mine else "new.person@lindenhof.example", "Anna")
        payload = msgspec.json.encode(profile)
        await access.owner.execute(
            "select troth.make_link($1, $2, $3, $4, $5, $6, $7, $8)",
            tenant,
            self.house.domain.name,
            kind,
            self.house.person if mine else None,
            await access.accounts.index(tenant, profile.email),
            None if mine else await access.sealer.seal(tenant, "link", payload, token_hash(token)),
            token_hash(token),
            timedelta(hours=1),
        )
        return token

    async def _strangers(self) -> AsyncGenerator[str]:
        """Who is not signed in."""
        for query in ("", "?signed_out=1", "?over=1", "?passkey=refused", "?changed=1", "?welcome=1"):
            await self.go(f"/login{query}")
            yield f"login{query}"
        await self.fill("/login", email="", password="")
        yield "login-missing"
        await self.fill("/login", email=EMAIL, password="wrong")
        yield "login-wrong"
        await self.go("/account/forgot")
        yield "forgot"
        await self.fill("/forgot", email="nobody")
        yield "forgot-fault"
        await self.fill("/forgot", email=EMAIL)
        yield "forgot-sent"
        await set_policy(self.house, registration="open", email_domains=["lindenhof.example"])
        await self.go("/account/register")
        yield "register"
        await self.fill("/register", email="x", name="")
        yield "register-fault"
        await set_policy(self.house)
        await self.go("/account/register")
        yield "register-closed"
        await self.go("/oauth/authorize?client_id=unknown")
        yield "error"

    async def _letters(self) -> AsyncGenerator[str]:
        """Where messages lead."""
        for kind in ("reset", "invitation", "registration"):
            await self.go(f"/account/{kind}?token={await self.link(kind)}")
            yield kind
        await self.fill("/registration", password="password", repeated="password")
        yield "registration-fault"
        await self.go(f"/account/verify?token={await self.link('verification')}")
        yield "verify"
        await self.fill("/verify")
        yield "verified"
        await self.go("/account/reset?token=old")
        yield "link-refused"

    async def _clients(self) -> AsyncGenerator[str]:
        """Who comes from a client."""
        await add_client(self.house, f"rich{self._serial()}", authorization_details_types=("troth_data",))
        await self.go(self.authorize())
        yield "login-for-client"
        await self.sign_in()
        await self.go(self.authorize())
        yield "consent"
        details = json.dumps(DETAILS)
        rich = f"rich{self._serial(0)}"
        await self.go(self.authorize(client_id=rich, scope=None, authorization_details=details))
        yield "consent-details"
        await self.go(self.authorize(acr_values=TWO_FACTORS))
        yield "step-up-enrol"
        await self.fill_app("/login/step-up", "000000")
        yield "step-up-enrol-fault"

    async def _devices(self) -> AsyncGenerator[str]:
        """Who connects a television."""
        name = f"television{self._serial()}"
        await add_client(self.house, name, grant_types=(CODE_GRANT, DEVICE_GRANT, REFRESH_GRANT))
        await self.sign_in()
        await self.go("/device")
        yield "device"
        await self.fill("/device", user_code="WRONG")
        yield "device-fault"
        for decision in ("allow", "deny"):
            await self.go("/device")
            await self.fill("/device", user_code=await self._user_code(name))
            if decision == "allow":
                yield "device-consent"
            async with self.page.expect_navigation():
                await self.page.locator(f"button[value={decision}]").click()
            yield f"device-{decision}"

    async def _account(self) -> AsyncGenerator[str]:
        """Who is signed in with the password."""
        access, house = self.house.access, self.house
        await access.sessions.begin(house.domain, house.person, agent=FIREFOX, network="2001:db8::7")
        await self.sign_in()
        for path in ("sessions", "security", "security/app", "password", "email"):
            await self.go(f"/account/{path}")
            yield f"account-{path.replace('/', '-')}"
        await self.go("/account/password")
        await self.fill("/password", current="wrong", password="mauve otters juggle", repeated="else")
        yield "account-password-fault"
        await self.go("/account/email")
        await self.fill("/email", email="other@lindenhof.example", current=PASSWORD)
        yield "account-email-sent"
        await self.go("/account/security/app")
        await self.fill_app("/security/app", "000000")
        yield "account-app-fault"
        await self.go("/login/step-up?return_to=/account/security")
        yield "step-up-password"
        await self.fill("/step-up", password="wrong")
        yield "step-up-password-fault"
        await self.go("/logout")
        yield "logout"

    async def _factors(self) -> AsyncGenerator[str]:
        """Who has, or has to have, a second factor."""
        access, house = self.house.access, self.house
        await set_factor_policy(house, "required")
        await self.half()
        await self.go("/login/second")
        yield "enrol"
        await self.fill_app("/login/second", "000000")
        yield "enrol-fault"
        key = await add_app(house)
        await self._add_passkey()
        await access.recovery_codes.renew(house.domain, house.person)
        await self.page.context.clear_cookies()
        await self.half()
        await self.go("/login/second?return_to=/account/security")
        yield "second"
        await self.fill("/login/second", code="000000")
        yield "second-fault"
        await self.page.locator("summary").click()
        yield "second-recovery"
        await self.fill("/login/second", code=code_of(house, key))
        yield "account-security-full"
        await self.fill("/recovery-codes")
        yield "recovery-codes"
        await self.page.context.clear_cookies()
        await self.sign_in()
        await self.go(self.authorize(acr_values=TWO_FACTORS))
        yield "step-up-second"
        await set_factor_policy(house, "optional")
        await access.owner.execute("select troth.reset_factors($1, $2)", house.tenant.id, house.person)

    async def fill_app(self, action: str, code: str) -> None:
        form = self.page.locator(f"form[action$='{action}']").filter(has=self.page.locator("[name=setup]"))
        await form.locator("[name=code]").fill(code)
        async with self.page.expect_navigation():
            await form.locator("button").click()

    def authorize(self, **changes: str | None) -> str:
        query = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
        return f"/oauth/authorize?{urlencode(query)}"

    async def _user_code(self, client: str) -> str:
        access, domain = self.house.access, self.house.domain
        found = await access.clients.find(domain, client)
        assert found
        asked = ClientRequest(form={"scope": "openid tickets:read"})
        return (await access.device_codes.begin(domain, found, asked)).user_code

    async def _add_passkey(self) -> None:
        access, house, subject = self.house.access, self.house, b"gallery"
        profile = Profile(EMAIL, "Anna")
        asked = await access.passkeys.invite(house.domain, house.person, profile, subject)
        made = Authenticator(house.domain.issuer, house.domain.name).create(asked)
        await access.passkeys.add(house.domain, house.person, subject, made, "Chrome, Windows")

    async def _stored(self) -> str:
        async with self.house.access.owner.transaction() as connection:
            await connection.execute("select set_config('troth.tenant', $1, true)", str(self.house.tenant.id))
            return await connection.fetchval(
                "select password_hash from troth.person where id = $1", self.house.person
            )

    _made = 0

    def _serial(self, more: int = 1) -> int:
        Visitor._made += more
        return Visitor._made
