"""The doors of the drills plant the fault that they are named after, and no other."""

import httpx

from troth.access.faulty_door import (
    AnyToken,
    DeafSignOut,
    Question,
    cookie_for_every_domain,
    cookie_for_scripts,
)
from troth.core.names import SESSION_COOKIE


class Platform:
    """Answers every question the same way and remembers what it was asked."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self.asked: list[Question] = []

    async def __call__(self, asked: Question) -> httpx.Response:
        self.asked.append(asked)
        self._answer.request = httpx.Request(asked.method, f"https://{asked.domain}{asked.path}")
        return self._answer


def question(method: str = "GET", path: str = "/", **more: object) -> Question:
    values: dict[str, object] = {"headers": {}, "cookies": {}, "domain": "a.example", **more}
    return Question(method=method, path=path, **values)  # pyright: ignore[reportArgumentType]


async def test_a_cookie_loses_http_only_and_nothing_else() -> None:
    line = "__Host-troth=x; Path=/; Secure; HttpOnly; SameSite=lax"
    platform = Platform(httpx.Response(303, headers={"Set-Cookie": line, "Location": "/"}))
    answer = await cookie_for_scripts(question("POST", "/login"), platform)
    assert answer.headers["set-cookie"] == "__Host-troth=x; Path=/; Secure; SameSite=lax"
    assert answer.headers["location"] == "/"


async def test_a_cookie_is_taken_home_and_everything_else_goes_where_it_was_sent() -> None:
    platform = Platform(httpx.Response(200))
    door = cookie_for_every_domain("home.example")
    await door(question(cookies={SESSION_COOKIE: "x"}), platform)
    await door(question(), platform)
    assert [asked.domain for asked in platform.asked] == ["home.example", "a.example"]


async def test_any_token_becomes_the_last_good_one() -> None:
    platform = Platform(httpx.Response(200, json={"access_token": "good"}))
    door = AnyToken()
    await door(question(headers={"Authorization": "Bearer early"}), platform)
    await door(question(path="/session/token"), platform)
    await door(question(headers={"Authorization": "Bearer forged"}), platform)
    sent = [asked.headers.get("Authorization") for asked in platform.asked]
    assert sent == ["Bearer early", None, "Bearer good"]


async def test_a_sign_out_is_held_back() -> None:
    platform = Platform(httpx.Response(200))
    door = DeafSignOut()
    answer = await door(question("POST", "/logout"), platform)
    assert answer.status_code == 303
    assert platform.asked == []
    await door(question("GET", "/logout"), platform)
    assert len(platform.asked) == 1
