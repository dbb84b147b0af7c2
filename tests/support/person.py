"""Somebody signed in on a domain, over HTTPS alone: what a browser sends, without a browser."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import httpx

from support.platform import Troth, home_of
from troth.core.reach import Visitor

COOKIE = "__Host-troth"


class Person:
    """A session on the home domain of a demonstration user."""

    def __init__(self, running: Troth, email: str, visitor: Visitor) -> None:
        self.domain = home_of(email)[1]
        self.cookie = ""
        self.token = ""
        self._origin = running.origin(self.domain)
        self._email, self._password = email, running.password(email)
        self._visitor = visitor

    async def sign_in(self) -> None:
        """Send the form."""
        form = {"email": self._email, "password": self._password, "return_to": "/"}
        answer = await self.post("/login", form)
        assert answer.status_code == 303, answer.text
        lines = [SimpleCookie(line) for line in answer.headers.get_list("set-cookie")]
        self.cookie = next(line[COOKIE].value for line in lines if COOKIE in line)

    async def sign_out(self) -> None:
        """Send the other form."""
        assert (await self.post("/logout", {})).status_code == 303

    async def renew(self) -> str:
        """A fresh access token of the session, as the domain's own script gets it."""
        answer = await self.get("/session/token", site="same-origin")
        assert answer.status_code == 200, answer.text
        self.token = str(answer.json()["access_token"])
        return self.token

    async def get(self, path: str, *, site: str = "none", domain: str = "", **more: str) -> httpx.Response:
        """Ask with the cookie; `domain` is another one than that of the session, `more` are headers."""
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Accept": "text/html", **more}
        return await self._visitor.request(
            "GET", domain or self.domain, path, headers=headers, cookies=self._cookies()
        )

    async def post(
        self, path: str, form: Mapping[str, str], *, site: str = "same-origin", origin: str = ""
    ) -> httpx.Response:
        """Send a form with the cookie."""
        return await self._visitor.request(
            "POST",
            self.domain,
            path,
            headers={"Origin": origin or self._origin, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"},
            cookies=self._cookies(),
            form=form,
        )

    async def submit(self, path: str, form: Mapping[str, str]) -> httpx.Response:
        """Send a form as a program does: no cookie and none of a browser's headers."""
        return await self._visitor.request("POST", self.domain, path, form=form)

    async def call(
        self, method: str, path: str, *, json: object = None, key: str = "", token: str = "", domain: str = ""
    ) -> httpx.Response:
        """Call the API with the token, or another one; `key` is the Idempotency-Key."""
        headers = {"Authorization": f"Bearer {token or self.token}"} | (
            {"Idempotency-Key": key} if key else {}
        )
        return await self._visitor.request(
            method, domain or self.domain, f"/api/v1/{path}", headers=headers, json=json
        )

    async def change(self, path: str, patch: object, *, version: str) -> httpx.Response:
        """Change some members of a document of this version (RFC 7396)."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "If-Match": version,
            "Content-Type": "application/merge-patch+json",
        }
        return await self._visitor.request(
            "PATCH", self.domain, f"/api/v1/{path}", headers=headers, json=patch
        )

    async def all(self, collection: str) -> list[dict[str, object]]:
        """Every document of a collection that this person may see, page by page."""
        found: list[dict[str, object]] = []
        query: dict[str, str | int] = {"limit": 100}
        while True:
            answer = await self.call("GET", f"{collection}?{urlencode(query)}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["items"]
            if not page.get("next"):
                return found
            query["after"] = page["next"]

    def _cookies(self) -> dict[str, str]:
        return {COOKIE: self.cookie} if self.cookie else {}


@asynccontextmanager
async def signed_in(running: Troth, email: str, *, seconds: float = 30.0) -> AsyncGenerator[Person]:
    """Sign in, fetch a token, and close the connections afterwards."""
    async with Visitor(running.face, seconds=seconds) as visitor:
        person = Person(running, email, visitor)
        await person.sign_in()
        await person.renew()
        yield person


def ticket(title: str, description: str = "") -> dict[str, object]:
    """A document that fits the example's collection."""
    return {"title": title, "category": "heating", "urgency": "normal", "description": description}
