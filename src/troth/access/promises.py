"""The access promises that can be probed here, each against the running platform through its edge.

access.scopes             without a scope nothing is given, by the API and by the database
access.oauth              a strict client completes its grant, and is refused every misuse
access.tokens             missing, forged, expired, misdirected and revoked tokens are refused
access.sessions           milliseconds from sign-out until every instance refuses the token
access.cookies_http_only  the attributes of the session cookie
access.cookies_domain     the cookie of one domain opens nothing on any other

The drill that breaks each of them is in `access.drills`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import msgspec

from troth.access.bound import LIMIT_SECONDS, LONGEST_MS, Watched, judge_bound
from troth.access.forgery import claims_of, forgeries
from troth.access.oauth.strict_client import Attempt, ProbeClients, StrictClient
from troth.access.visit import (
    Account,
    Visit,
    fetch_token,
    request_token,
    sign_in,
    sign_out,
)
from troth.core.promise import Finding, Probe
from troth.core.reach import PublicFace, Visitor

Ask = Callable[[str, str], Awaitable[int]]
"""(domain, access token) -> HTTP status of a read on one instance, asked without the edge."""


class AccessView(msgspec.Struct, frozen=True):
    """What the probes need to see of a running platform.

    `member` may do everything in its tenant, `outsider` has no scope at all; both belong to a tenant made for
    probing. `mint` signs claims with the issuer's own key, the given ones replacing the usual. `instances`
    are asked one by one. `rows_without_grants` counts what the database shows to a context without grants.
    `visitor` opens a way to the public side. `clients` are those made for probing. `watched` is what was
    measured of the bound so far.
    """

    face: PublicFace
    visitor: Callable[[], Visitor]
    clients: ProbeClients
    member: Account
    outsider: Account
    collections: tuple[str, ...]
    mint: Callable[[str, Mapping[str, object]], Awaitable[str]]
    instances: Callable[[], Awaitable[tuple[Ask, ...]]]
    rows_without_grants: Callable[[str], Awaitable[int]]
    watched: Callable[[], Awaitable[Watched]]


def probes(view: AccessView) -> tuple[Probe, ...]:
    """The probes of this room."""
    return (
        Probe("access.scopes", lambda: probe_scopes(view)),
        Probe("access.oauth", lambda: probe_oauth(view)),
        Probe("access.tokens", lambda: probe_tokens(view)),
        Probe("access.sessions", lambda: probe_sessions(view)),
        Probe("access.cookies_http_only", lambda: probe_cookie_attributes(view)),
        Probe("access.cookies_domain", lambda: probe_cookie_domain(view)),
    )


@asynccontextmanager
async def _visiting(view: AccessView, account: Account) -> AsyncGenerator[tuple[Visitor, Visit]]:
    async with view.visitor() as visitor:
        visit = await sign_in(visitor, view.face, account)
        try:
            yield visitor, visit
        finally:
            await sign_out(visitor, view.face, visit)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def probe_scopes(view: AccessView) -> Finding:
    """Try every collection and action with a token that has no scope, and every table without grants."""
    faults: list[str] = []
    tried = 0
    async with _visiting(view, view.outsider) as (visitor, visit):
        token = await fetch_token(visitor, visit)
        for name in view.collections:
            for method, path in _attempts(name):
                body: dict[str, str] | None = {} if method in ("POST", "PUT") else None
                answer = await visitor.request(
                    method, visit.domain, path, headers={**_bearer(token), "If-Match": '"1"'}, json=body
                )
                tried += 1
                if answer.status_code != 403:
                    faults.append(f"{method} {path} was answered {answer.status_code}")
    for name in view.collections:
        tried += 1
        if rows := await view.rows_without_grants(name):
            faults.append(f"the database showed {rows} rows of {name} without a grant")
    return judge_scopes(tried, tuple(faults))


def _attempts(collection: str) -> tuple[tuple[str, str], ...]:
    one = f"/api/v1/{collection}/00000000-0000-7000-8000-000000000000"
    every = f"/api/v1/{collection}"
    return (("GET", every), ("POST", every), ("GET", one), ("PUT", one), ("DELETE", one))


def judge_scopes(tried: int, faults: tuple[str, ...]) -> Finding:
    """The verdict on `tried` attempts without a scope."""
    raw: dict[str, object] = {"tried": tried, "faults": list(faults)}
    if faults:
        return Finding("broken", "; ".join(faults[:4]) + ".", raw)
    if not tried:
        return Finding("unknown", "There is no collection to try.", raw)
    return Finding(
        "proved", f"{tried} attempts without a scope got nothing, at the API and at the database.", raw
    )


async def probe_oauth(view: AccessView) -> Finding:
    """Complete a grant as a strict client does, then try everything that has to be refused."""
    async with _visiting(view, view.member) as (visitor, visit):
        client = StrictClient(visitor, view.face, visit, view.clients)
        token, _ = await client.complete()
        opened = await client.opens(token)
        attempts = await client.try_misuses()
    return judge_oauth(opened, attempts)


def judge_oauth(opened: bool, attempts: tuple[Attempt, ...]) -> Finding:
    """The verdict: whether the token of a correct grant opened the API, and how misuse was answered."""
    raw: dict[str, object] = {
        "opened": opened,
        "attempts": {attempt.name: attempt.answer for attempt in attempts},
    }
    faults = [f"{attempt.name}: {attempt.fault}" for attempt in attempts if attempt.fault]
    if faults:
        return Finding("broken", f"Not refused: {'; '.join(faults[:4])}.", raw)
    if not opened or not attempts:
        return Finding("unknown", "A correct grant did not open the API, so refusals show nothing.", raw)
    return Finding(
        "proved",
        "A strict client completed the code grant with PKCE; refused: "
        f"{', '.join(attempt.name for attempt in attempts)}.",
        raw,
    )


async def probe_tokens(view: AccessView) -> Finding:
    """Call the API with every kind of bad token, and with a good one to see that the door opens at all."""
    async with view.visitor() as visitor:
        visit = await sign_in(visitor, view.face, view.member)
        good = await fetch_token(visitor, visit)
        opened = await _status(visitor, view, good)
        statuses = {
            kind: await _status(visitor, view, token)
            for kind, token in (await _bad_tokens(view, good)).items()
        }
        await sign_out(visitor, view.face, visit)
        statuses["revoked"] = await _status(visitor, view, good)
    claims = claims_of(good)
    return judge_tokens(opened, statuses, int(claims["exp"]) - int(claims["iat"]))


async def _bad_tokens(view: AccessView, good: str) -> dict[str, str]:
    domain = view.member.domain
    now = int(time.time())
    issuer = view.face.origin(domain)
    return {
        "missing": "",
        "expired": await view.mint(good, {"iat": now - 900, "exp": now - 600}),
        "wrong audience": await view.mint(good, {"aud": "https://elsewhere.invalid/api/v1"}),
        "wrong issuer": await view.mint(good, {"iss": f"{issuer}.invalid"}),
        **forgeries(good),
    }


async def _status(visitor: Visitor, view: AccessView, token: str) -> int:
    path = f"/api/v1/{view.collections[0]}?limit=1"
    answer = await visitor.request("GET", view.member.domain, path, headers=_bearer(token) if token else None)
    return answer.status_code


LONGEST_LIFE = 15 * 60
"""Seconds: the promise speaks of minutes."""


def judge_tokens(opened: int, refused: Mapping[str, int], seconds: int) -> Finding:
    """The verdict: `opened` is the status of a good token, `seconds` its whole life, `refused` the statuses
    of the bad ones."""
    raw: dict[str, object] = {"good": opened, "seconds": seconds, "bad": dict(refused)}
    if opened != 200:
        return Finding("unknown", f"A good token was answered {opened}, so refusals show nothing.", raw)
    accepted = [f"{kind} ({status})" for kind, status in refused.items() if status != 401]
    if accepted:
        return Finding("broken", f"Not refused: {', '.join(accepted)}.", raw)
    if seconds > LONGEST_LIFE:
        return Finding("broken", f"An access token lives for {seconds / 60:g} minutes.", raw)
    return Finding(
        "proved",
        f"Refused: {', '.join(refused)}; a good token of {seconds / 60:g} minutes was accepted.",
        raw,
    )


async def probe_sessions(view: AccessView) -> Finding:
    """Sign in, sign out, ask every instance until it refuses the token, and look at the bound so far."""
    instances = await view.instances()
    async with view.visitor() as visitor:
        anonymous = await visitor.request(
            "GET", view.member.domain, "/session/token", headers={"Sec-Fetch-Site": "same-origin"}
        )
        visit = await sign_in(visitor, view.face, view.member)
        token = await fetch_token(visitor, visit)
        before = [await ask(visit.domain, token) for ask in instances]
        await sign_out(visitor, view.face, visit)
        started = time.monotonic()
        waits = await asyncio.gather(
            *(_until_refused(ask, visit.domain, token, started) for ask in instances)
        )
        again = await _until_no_token(visitor, visit, started, in_a_row=len(instances))
    own = judge_sessions(anonymous.status_code, tuple(before), tuple(waits), again)
    return judge_bound(own, await view.watched())


async def _until_refused(ask: Ask, domain: str, token: str, started: float) -> float | None:
    for _ in range(200):
        if await ask(domain, token) == 401:
            return (time.monotonic() - started) * 1000
    return None


async def _until_no_token(visitor: Visitor, visit: Visit, started: float, *, in_a_row: int) -> float | None:
    """Ask for a token through the edge until as many requests as there are instances got none. Milliseconds
    after which the last one was given, 0 for none at all; None when they never ceased."""
    given, refused = 0.0, 0
    while refused < max(1, in_a_row):
        asked = (time.monotonic() - started) * 1000
        if asked > LIMIT_SECONDS * 1000:
            return None
        answer = await request_token(visitor, visit)
        refused = 0 if answer.status_code == 200 else refused + 1
        given = asked if answer.status_code == 200 else given
    return given


def judge_sessions(
    anonymous: int, before: tuple[int, ...], waits: tuple[float | None, ...], again: float | None
) -> Finding:
    """The verdict: the status of asking for a token without a session, statuses before sign-out, milliseconds
    to refusal on each instance, and those for which tokens were still given for the ended session. An
    instance may vouch for a session that it has not heard the end of, but not for longer than the bound."""
    raw: dict[str, object] = {"before": list(before), "milliseconds": list(waits), "again": again}
    if anonymous == 200 or again is None or again > LONGEST_MS:
        return Finding("broken", "A token was given without a session.", raw)
    if not before or any(status != 200 for status in before):
        return Finding("unknown", "Not every instance accepted the token before sign-out.", raw)
    ended = [wait for wait in waits if wait is not None]
    if len(ended) != len(waits):
        return Finding("broken", "An instance still accepts the token of an ended session.", raw)
    return Finding(
        "proved",
        f"{len(waits)} instances refused the token within {max(ended):.0f} ms of sign-out; "
        "without a session no token is given.",
        raw,
    )


async def probe_cookie_attributes(view: AccessView) -> Finding:
    """Read the `Set-Cookie` line of a real sign-in."""
    async with _visiting(view, view.member) as (_, visit):
        return judge_cookie(visit.set_cookie)


def judge_cookie(line: str) -> Finding:
    """The verdict on a `Set-Cookie` line (RFC 6265bis section 4.1.3.2, the `__Host-` prefix)."""
    pair, *rest = [part.strip() for part in line.split(";")]
    attributes = {name.lower(): value for name, _, value in (part.partition("=") for part in rest)}
    wanted = {
        "the __Host- prefix": pair.startswith("__Host-"),
        "HttpOnly": "httponly" in attributes,
        "Secure": "secure" in attributes,
        "SameSite": attributes.get("samesite", "").lower() in ("lax", "strict"),
        "Path=/": attributes.get("path") == "/",
        "no Domain": "domain" not in attributes,
    }
    missing = [name for name, present in wanted.items() if not present]
    raw: dict[str, object] = {"name": pair.partition("=")[0], "attributes": sorted(attributes)}
    if missing:
        return Finding("broken", f"The session cookie lacks {', '.join(missing)}.", raw)
    return Finding("proved", f"The session cookie of a real sign-in carries {', '.join(wanted)}.", raw)


async def probe_cookie_domain(view: AccessView) -> Finding:
    """Replay one domain's cookie on every other domain and see that it opens nothing."""
    others = tuple(name for name in view.face.domains if name != view.member.domain)
    async with _visiting(view, view.member) as (visitor, visit):
        own = (await request_token(visitor, visit)).status_code
        answers = {
            domain: (await request_token(visitor, msgspec.structs.replace(visit, domain=domain))).status_code
            for domain in others
        }
    return judge_replay(own, answers)


def judge_replay(own: int, answers: Mapping[str, int]) -> Finding:
    """The verdict: the status on the cookie's own domain and on each other one."""
    raw: dict[str, object] = {"own": own, "others": dict(answers)}
    opened = [f"{domain} ({status})" for domain, status in answers.items() if status not in (401, 403)]
    if opened:
        return Finding("broken", f"A cookie of another domain was not refused on: {', '.join(opened)}.", raw)
    if own != 200:
        return Finding("unknown", f"The cookie was answered {own} on its own domain.", raw)
    if not answers:
        return Finding("unknown", "There is no second domain to try the cookie on.", raw)
    return Finding(
        "proved", f"A session cookie replayed on {len(answers)} other domains opened nothing.", raw
    )
