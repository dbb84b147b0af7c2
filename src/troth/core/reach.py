"""Reach a client domain through the edge of this machine without asking any name server."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx
import msgspec

from troth.core.names import origin_of


class PublicFace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the edge meets the public: its address, its two ports, client domains and their CA.

    Of very many domains `domains` is a sample; `served` is how many there are, if that is more.
    """

    address: str
    https_port: int
    http_port: int
    domains: tuple[str, ...]
    ca: Path
    served: int = 0

    @property
    def visited(self) -> str:
        """How many domains a probe looks at, in words: it must not claim those that it left out."""
        if self.served <= len(self.domains):
            return f"{len(self.domains)} domains"
        return f"{len(self.domains)} of {self.served:,} domains, chosen at random"

    def origin(self, domain: str) -> str:
        """The origin of a client domain."""
        return origin_of(domain, self.https_port)


class Visitor:
    """An HTTPS client that connects to the edge's address whatever the domain is called.

    The certificate is checked for the domain. Redirects are not followed and no cookie is kept: a probe
    wants to see each answer and to decide itself what it sends.
    """

    def __init__(self, face: PublicFace, *, seconds: float = 10.0) -> None:
        self._face = face
        self._seconds = seconds
        self._context = ssl.create_default_context(cafile=str(face.ca))
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def __aenter__(self) -> "Visitor":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

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
        """Send one HTTPS request to a client domain. Raises httpx.HTTPError when there is no answer."""
        sent = {**(headers or {}), "Host": self._authority(domain)}
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        client = self._client(domain)
        response = await client.request(
            method,
            f"https://{self._face.address}:{self._face.https_port}{path}",
            headers=sent,
            json=json,
            data=form,
            extensions={"sni_hostname": domain},
        )
        client.cookies.clear()
        return response

    async def request_plainly(self, domain: str, path: str) -> httpx.Response:
        """Send one request without TLS, as a browser that was given `http://domain/…`."""
        port = self._face.http_port
        return await self._client(domain).get(
            f"http://{self._face.address}:{port}{path}",
            headers={"Host": domain if port == 80 else f"{domain}:{port}"},
        )

    def _client(self, domain: str) -> httpx.AsyncClient:
        """One for each domain: a connection that was opened for one must not carry another's requests
        (RFC 9110 section 7.4, the edge answers 421)."""
        if domain not in self._clients:
            self._clients[domain] = httpx.AsyncClient(
                verify=self._context, timeout=self._seconds, trust_env=False
            )
        return self._clients[domain]

    def _authority(self, domain: str) -> str:
        return self._face.origin(domain).removeprefix("https://")
