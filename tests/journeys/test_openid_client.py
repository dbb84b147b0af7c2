"""A third party's software connects: openid-client from npm, unmodified, and what it must not do."""

import asyncio
import base64
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from playwright.async_api import Browser

from support.chromium import context, program
from support.person import Person, signed_in
from support.platform import ANNA, OWNERS, RESIDENTS, Troth, troth

NPM = Path(__file__).parents[1] / "npm"
SCOPE = "openid profile email tickets:read:own announcements:read"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk-of-these-tests"
CALLBACK = "http://127.0.0.1:47001/callback"


class Client:
    """The npm package in a Node process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self) -> dict[str, Any]:
        """The next thing it says; fails the test with its own words when it has ended instead."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert line, (await self._process.stderr.read()).decode()
        return json.loads(line)


@asynccontextmanager
async def openid_client(
    platform: Troth, *, identifier: str = "ledger", **more: Any
) -> AsyncGenerator[Client]:
    process = await asyncio.create_subprocess_exec(
        program("node"),
        str(NPM / "openid_client.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(platform.state.public_ca)},
    )
    try:
        assert process.stdin is not None
        asked = {"issuer": platform.origin(RESIDENTS), "clientId": identifier, "scope": SCOPE, **more}
        process.stdin.write(json.dumps(asked).encode())
        process.stdin.close()
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_openid_client_connects_within_its_scopes_until_the_person_signs_out(
    chromium: Browser, platform: Troth
) -> None:
    async with openid_client(platform) as client, context(chromium) as browser:
        page = await browser.new_page()
        await page.goto((await client.hear())["authorize"])
        await page.get_by_label("E-mail").fill(ANNA)
        await page.get_by_label("Password").fill(platform.password(ANNA))
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("heading", name="Ledger accounting").wait_for()
        wishes = await page.locator(".scopes li").all_inner_texts()
        await page.get_by_role("button", name="Allow", exact=True).click()
        await page.wait_for_url("http://127.0.0.1:*/callback?*")
        seen = await client.hear()

        assert any("Tickets" in wish for wish in wishes)
        assert seen["claims"]["iss"] == platform.origin(RESIDENTS)
        assert seen["claims"]["aud"] == "ledger"
        # The person is who the ID token says; more than troth.toml grants the client, it does not learn.
        assert seen["person"] == {"sub": seen["claims"]["sub"]}
        assert seen["scope"].split() == ["openid", "announcements:read", "tickets:read:own"]
        assert 0 < seen["expiresIn"] <= 300
        assert seen["tickets"]["status"] == seen["announcements"]["status"] == 200
        assert seen["beyond"]["status"] == 403
        assert "tickets:create" in str(seen["beyond"])

        async with signed_in(platform, ANNA) as another:
            assert (await another.call("GET", "tickets", token=seen["token"])).status_code == 200
            # Not on another domain, though it is the same platform.
            foreign = await another.call("GET", "tickets", token=seen["token"], domain=OWNERS)
            assert foreign.status_code == 401
            await page.goto(f"{platform.origin(RESIDENTS)}/logout")
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url("**/login?signed_out=1")
            assert (await another.call("GET", "tickets", token=seen["token"])).status_code == 401


@asynccontextmanager
async def added(platform: Troth, identifier: str, method: str = "client_secret_basic") -> AsyncGenerator[str]:
    """A confidential client that the operator adds while the platform runs; yields its secret."""
    mine = ("--tenant", "lindenhof", "--state", platform.state.root)
    scopes = ("--scope", "tickets:read:own", "--scope", "announcements:read")
    how = ("--method", method, "--redirect", "http://127.0.0.1/callback")
    done = await asyncio.to_thread(
        troth, "client", "add", identifier, "--name", "Books", *how, *scopes, *mine, "--json"
    )
    assert done.status == 0, done.errors
    try:
        yield json.loads(done.output)["secret"]
    finally:
        gone = await asyncio.to_thread(troth, "client", "remove", identifier, *mine)
    assert gone.status == 0, gone.errors


async def test_a_client_that_was_just_added_renews_its_tokens_and_gives_them_back(platform: Troth) -> None:
    async with (
        signed_in(platform, ANNA) as anna,
        added(platform, "books") as secret,
        openid_client(platform, identifier="books", secret=secret, revoke=True) as client,
    ):
        address = urlsplit(str((await client.hear())["authorize"]))
        location = await agree(anna, f"{address.path}?{address.query}")
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(location)).status_code == 200
        first = await client.hear()
        assert first["tickets"]["status"] == 200
        renewed = await client.hear()
        assert (renewed["rotated"], renewed["renewed"]["status"]) == (True, 200)
        revoked = await client.hear()
        # All of the grant is over, whichever of its tokens was given back, on every instance.
        assert (revoked["first"]["status"], revoked["second"]["status"]) == (401, 401)
        assert revoked["refused"] == "invalid_grant"
        # What the person does in the browser is none the worse for it.
        assert (await anna.call("GET", "tickets")).status_code == 200


async def test_a_client_that_is_removed_is_out_at_once(platform: Troth) -> None:
    async with signed_in(platform, ANNA) as anna:
        async with added(platform, "brief", "client_secret_post") as secret:
            code = parse_qs(urlsplit(await agree(anna, authorize(client_id="brief"))).query)["code"][0]
            tokens = (await exchange(anna, code, client_id="brief", client_secret=secret)).json()
            assert (await anna.call("GET", "tickets", token=tokens["access_token"])).status_code == 200
        assert (await anna.call("GET", "tickets", token=tokens["access_token"])).status_code == 401
        refused = await anna.get(authorize(client_id="brief"))
        assert (refused.status_code, refused.headers.get("location")) == (400, None)


async def test_a_code_is_good_for_one_exchange(platform: Troth) -> None:
    async with signed_in(platform, ANNA) as anna:
        code = await fetch_code(anna)
        first = await exchange(anna, code)
        assert first.status_code == 200
        token = first.json()["access_token"]
        assert (await anna.call("GET", "tickets", token=token)).status_code == 200

        again = await exchange(anna, code)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        # Whoever replays it may have stolen it: what came of the first exchange dies too (RFC 6749 4.1.2).
        assert (await anna.call("GET", "tickets", token=token)).status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": VERIFIER[::-1]},
        {"code_verifier": ""},
        {"redirect_uri": "http://127.0.0.1:47002/callback"},
        {"redirect_uri": "http://127.0.0.1:47001/callback/"},
        {"client_id": "session"},
        {"code": "A" * 43},
    ],
    ids=["another verifier", "no verifier", "another port", "another path", "another client", "another code"],
)
async def test_a_code_is_worth_nothing_to_whoever_stole_it(platform: Troth, changed: dict[str, str]) -> None:
    async with signed_in(platform, ANNA) as anna:
        answer = await exchange(anna, await fetch_code(anna), **changed)
        assert answer.status_code in (400, 401)
        assert answer.json()["error"] in (
            "invalid_grant",
            "invalid_request",
            "invalid_client",
            "unauthorized_client",
        )
        assert "access_token" not in answer.text


@pytest.mark.parametrize("changed", [{"code_challenge": ""}, {"code_challenge_method": "plain"}])
async def test_without_pkce_no_code_is_given(platform: Troth, changed: dict[str, str]) -> None:
    async with signed_in(platform, ANNA) as anna:
        answer = await anna.get(authorize(**changed))
        said = parse_qs(urlsplit(answer.headers["location"]).query)
        assert said["error"] == ["invalid_request"]
        assert said["state"] == ["of-these-tests"]
        assert "code" not in said


@pytest.mark.parametrize(
    "changed",
    [{"redirect_uri": "https://evil.example/callback"}, {"client_id": "nobody"}],
    ids=["uri", "client"],
)
async def test_an_untrusted_address_is_never_led_to(platform: Troth, changed: dict[str, str]) -> None:
    async with signed_in(platform, ANNA) as anna:
        answer = await anna.get(authorize(**changed))
        assert answer.status_code == 400
        assert "location" not in answer.headers


def authorize(**changed: str) -> str:
    """A correct authorization request but for `changed`; an empty value leaves the parameter out."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": "ledger",
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": SCOPE,
        "state": "of-these-tests",
        "nonce": "once",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    } | changed
    return f"/oauth/authorize?{urlencode({name: value for name, value in query.items() if value})}"


async def fetch_code(person: Person) -> str:
    """An authorization code for the client, agreed to by this person."""
    return parse_qs(urlsplit(await agree(person, authorize())).query)["code"][0]


async def agree(person: Person, address: str) -> str:
    """Say yes where it is asked for; returns the client's address with the code."""
    answer = await person.get(address)
    if answer.status_code == 200:
        pending = re.search(r'name="pending" value="([^"]+)"', answer.text)
        assert pending, answer.text
        answer = await person.post("/oauth/consent", {"pending": pending[1], "decision": "allow"})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def exchange(person: Person, code: str, /, **changed: str) -> httpx.Response:
    """Ask the token endpoint, as the client's own server does."""
    form = {
        "grant_type": "authorization_code",
        "client_id": "ledger",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    } | changed
    return await person.submit("/oauth/token", {name: value for name, value in form.items() if value})
