"""A client of the authorization server as strict as they come, for the probe of access.oauth.

It completes the authorization code grant with PKCE as RFC 9700 wants it done, and tries everything that must
be refused. It speaks to the running platform through a `Visitor`, like any program outside.
"""

import base64
import hashlib
import re
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec

from troth.access.visit import Visit
from troth.core.errors import PlatformError
from troth.core.reach import PublicFace, Visitor

_PENDING = re.compile(r'name="pending" value="([^"]+)"')

ELSEWHERE = "https://elsewhere.example/callback"
"""Registered for nobody."""


class ProbeClients(msgspec.Struct, frozen=True):
    """The clients that were registered for probing, and where both are answered."""

    client: str
    other: str
    redirect_uri: str
    scope: str


class Attempt(msgspec.Struct, frozen=True):
    """Something that must be refused: how it was answered, and what is wrong with that (empty: nothing)."""

    name: str
    answer: str
    fault: str


class StrictClient:
    """One person's browser and one client, in one."""

    def __init__(self, visitor: Visitor, face: PublicFace, visit: Visit, clients: ProbeClients) -> None:
        self._visitor = visitor
        self._face = face
        self._visit = visit
        self._clients = clients

    @property
    def issuer(self) -> str:
        return self._face.origin(self._visit.domain)

    async def complete(self) -> tuple[str, str]:
        """A whole grant: access token and the code it was exchanged for. Raises PlatformError."""
        verifier = new_verifier()
        code = await self.code(verifier)
        answer = await self.exchange(code, verifier)
        if answer.status_code != 200:
            raise PlatformError(f"A correct code was answered {answer.status_code}: {error_of(answer)}.")
        return str(answer.json()["access_token"]), code

    async def code(self, verifier: str) -> str:
        """An authorization code for this verifier. Raises PlatformError when none comes, or when `state` or
        `iss` (RFC 9207) is not what it has to be."""
        state = secrets.token_urlsafe(16)
        answer = await self.authorize(self._question(verifier) | {"state": state})
        if answer.status_code == 200:
            answer = await self._agree(answer)
        said = answer_of(answer)
        if said.get("state") != state or said.get("iss") != self.issuer or "code" not in said:
            raise PlatformError(f"The authorization endpoint answered {answer.status_code} {sorted(said)}.")
        return said["code"]

    async def authorize(self, question: dict[str, str]) -> httpx.Response:
        """Ask the authorization endpoint in the signed-in browser."""
        return await self._visitor.request(
            "GET",
            self._visit.domain,
            f"/oauth/authorize?{urlencode(question)}",
            cookies=self._visit.cookies,
        )

    async def exchange(self, code: str, verifier: str, **instead: str) -> httpx.Response:
        """The token request of RFC 6749 section 4.1.3, with some fields replaced."""
        clients = self._clients
        form = {
            "grant_type": "authorization_code",
            "client_id": clients.client,
            "redirect_uri": clients.redirect_uri,
            "code": code,
            "code_verifier": verifier,
        }
        return await self.token(form | instead)

    async def token(self, form: dict[str, str]) -> httpx.Response:
        """Ask the token endpoint."""
        return await self._visitor.request("POST", self._visit.domain, "/oauth/token", form=form)

    async def try_misuses(self) -> tuple[Attempt, ...]:
        """Everything that RFC 9700 says is refused, and how it was answered."""
        return (
            *[await self._misdirected(name, instead) for name, instead in self._MISDIRECTED],
            *[await self._unanswerable(name, instead) for name, instead in self._UNANSWERABLE],
            *await self._bad_exchanges(),
            *[await self._bad_grant(grant) for grant in ("password", "client_credentials")],
        )

    _MISDIRECTED = (
        ("a redirect that is not registered", {"redirect_uri": ELSEWHERE}),
        ("an unknown client", {"client_id": "nobody"}),
    )
    """Nothing may be sent anywhere: whose request this is has not been established."""

    _UNANSWERABLE = (
        ("no PKCE", {"code_challenge": "", "code_challenge_method": ""}),
        ("PKCE plain", {"code_challenge_method": "plain"}),
        ("the implicit grant", {"response_type": "token"}),
    )
    """The client learns of its fault; no code and no token comes."""

    async def _misdirected(self, name: str, instead: dict[str, str]) -> Attempt:
        answer = await self.authorize(self._question(new_verifier()) | instead)
        place = str(answer.headers.get("location", ""))
        fault = f"it redirected to {urlsplit(place).netloc or place}" if place else ""
        return Attempt(name, str(answer.status_code), fault or _unless_refused(answer))

    async def _unanswerable(self, name: str, instead: dict[str, str]) -> Attempt:
        question = {key: value for key, value in (self._question(new_verifier()) | instead).items() if value}
        said = answer_of(await self.authorize(question))
        given = sorted({"code", "access_token"} & said.keys())
        fault = f"it gave {given[0]}" if given else "" if said.get("error") else "no error came"
        return Attempt(name, said.get("error", "no error"), fault)

    async def _bad_exchanges(self) -> tuple[Attempt, ...]:
        clients = self._clients
        tries = (
            ("a wrong verifier", {"code_verifier": new_verifier()}),
            ("another redirect for the code", {"redirect_uri": ELSEWHERE}),
            ("another client's code", {"client_id": clients.other}),
        )
        attempts: list[Attempt] = []
        for name, instead in tries:
            verifier = new_verifier()
            code = await self.code(verifier)
            answer = await self.exchange(code, verifier, **instead)
            attempts.append(Attempt(name, error_of(answer), _unless_refused(answer)))
        return (*attempts, await self._replay())

    async def _replay(self) -> Attempt:
        verifier = new_verifier()
        code = await self.code(verifier)
        first = await self.exchange(code, verifier)
        second = await self.exchange(code, verifier)
        token = str(first.json().get("access_token", "")) if first.status_code == 200 else ""
        fault = _unless_refused(second)
        if not fault and await self.opens(token):
            fault = "what the code had given the first time still opens the API"
        return Attempt("a code used twice", error_of(second), fault)

    async def _bad_grant(self, grant: str) -> Attempt:
        form = {
            "grant_type": grant,
            "client_id": self._clients.client,
            "username": "anybody@probes.example",
            "password": secrets.token_urlsafe(16),
            "scope": self._clients.scope,
        }
        answer = await self.token(form)
        return Attempt(f"the grant {grant}", error_of(answer), _unless_refused(answer))

    async def opens(self, token: str) -> bool:
        """Whether the API takes this access token."""
        answer = await self._visitor.request(
            "GET",
            self._visit.domain,
            f"/api/v1/{self._clients.scope.partition(':')[0]}?limit=1",
            headers={"Authorization": f"Bearer {token}"},
        )
        return answer.status_code == 200

    async def _agree(self, page: httpx.Response) -> httpx.Response:
        found = _PENDING.search(page.text)
        if found is None:
            raise PlatformError("The consent page has no question on it.")
        return await self._visitor.request(
            "POST",
            self._visit.domain,
            "/oauth/consent",
            headers={"Origin": self.issuer, "Sec-Fetch-Site": "same-origin"},
            cookies=self._visit.cookies,
            form={"pending": found[1], "decision": "allow"},
        )

    def _question(self, verifier: str) -> dict[str, str]:
        clients = self._clients
        return {
            "client_id": clients.client,
            "redirect_uri": clients.redirect_uri,
            "response_type": "code",
            "scope": clients.scope,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }


def new_verifier() -> str:
    """43 characters (RFC 7636 section 4.1)."""
    return secrets.token_urlsafe(32)


def challenge(verifier: str) -> str:
    """RFC 7636 section 4.2. Its own code: the probe must not agree with the platform by sharing it."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def answer_of(answer: httpx.Response) -> dict[str, str]:
    """What a redirect carries to the client; nothing when there is none."""
    place = urlsplit(str(answer.headers.get("location", "")))
    parts = {**parse_qs(place.query), **parse_qs(place.fragment)}
    return {name: values[0] for name, values in parts.items()}


def error_of(answer: httpx.Response) -> str:
    """The `error` of an answer in OAuth's shape, else its status."""
    try:
        said = msgspec.json.decode(answer.content, type=dict[str, object])
    except msgspec.DecodeError:
        return str(answer.status_code)
    return str(said.get("error", answer.status_code))


def _unless_refused(answer: httpx.Response) -> str:
    return "" if 400 <= answer.status_code < 500 else f"it was answered {answer.status_code}"
