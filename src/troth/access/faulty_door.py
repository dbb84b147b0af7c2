"""Doors with a fault, for drills: what a probe would meet if the platform had that fault.

A probe reaches the platform through a `Visitor`. A `FaultyDoor` is one that lets a defect handle each
request: it may change the question, the answer, or keep the question to itself. The platform stays as it is.
"""

from collections.abc import Awaitable, Callable, Mapping

import httpx
import msgspec

from troth.core.names import SESSION_COOKIE
from troth.core.reach import PublicFace, Visitor


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a probe."""

    method: str
    domain: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    json: object = None
    form: Mapping[str, str] | None = None


Forward = Callable[[Question], Awaitable[httpx.Response]]
"""Asks the real platform."""

Defect = Callable[[Question, Forward], Awaitable[httpx.Response]]


class FaultyDoor(Visitor):
    """A visitor whose requests go through a defect."""

    def __init__(self, face: PublicFace, defect: Defect) -> None:
        super().__init__(face)
        self._defect = defect

    async def request(
        self,
        method: str,
        domain: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: object = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        asked = Question(
            method=method,
            domain=domain,
            path=path,
            headers=headers or {},
            cookies=cookies or {},
            json=json,
            form=form,
        )
        return await self._defect(asked, self._forward)

    async def _forward(self, asked: Question) -> httpx.Response:
        return await super().request(
            asked.method,
            asked.domain,
            asked.path,
            headers=asked.headers,
            cookies=asked.cookies,
            json=asked.json,
            form=asked.form,
        )


async def cookie_for_scripts(asked: Question, forward: Forward) -> httpx.Response:
    """Session cookies come without HttpOnly."""
    answer = await forward(asked)
    lines = [
        (name, "; ".join(part for part in value.split("; ") if part.lower() != "httponly"))
        if name.lower() == "set-cookie"
        else (name, value)
        for name, value in answer.headers.multi_items()
    ]
    return httpx.Response(answer.status_code, headers=lines, content=answer.content, request=answer.request)


def cookie_for_every_domain(home: str) -> Defect:
    """A cookie of `home` opens its session on every domain."""

    async def defect(asked: Question, forward: Forward) -> httpx.Response:
        if SESSION_COOKIE in asked.cookies:
            return await forward(msgspec.structs.replace(asked, domain=home))
        return await forward(asked)

    return defect


class AnyToken:
    """Whatever is sent as an access token is taken for the last good one."""

    def __init__(self) -> None:
        self._good = ""

    async def __call__(self, asked: Question, forward: Forward) -> httpx.Response:
        if "Authorization" in asked.headers and self._good:
            headers = {**asked.headers, "Authorization": f"Bearer {self._good}"}
            return await forward(msgspec.structs.replace(asked, headers=headers))
        answer = await forward(asked)
        if asked.path.startswith("/session/token") and answer.status_code == 200:
            self._good = str(answer.json()["access_token"])
        return answer


class DeafSignOut:
    """Signing out looks as always and ends nothing, until `really_sign_out` asks for what was held back."""

    def __init__(self) -> None:
        self._held: list[Question] = []

    async def __call__(self, asked: Question, forward: Forward) -> httpx.Response:
        if asked.method == "POST" and asked.path == "/logout":
            self._held.append(asked)
            return httpx.Response(303, headers={"Location": "/login?signed_out=1"})
        return await forward(asked)

    async def really_sign_out(self, visitor: Visitor) -> None:
        """Pass on every sign-out that was held back."""
        while self._held:
            asked = self._held.pop()
            await visitor.request(
                asked.method, asked.domain, asked.path, headers=asked.headers, cookies=asked.cookies
            )
