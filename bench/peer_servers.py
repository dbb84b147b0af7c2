"""The authorization servers that ours is measured against, each started as its makers would run it fast.

node oidc-provider (npm, in memory, one process) and django-oauth-toolkit (PyPI, on the same PostgreSQL as
ours, under the same HTTP server). Both speak TLS 1.3 with a client certificate, like our own instances. What
they need is installed beside their files in `bench/peers`, from lock files of their own.
"""

import base64
import os
import secrets
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import msgspec

from bench.load import Side
from support.postgres import Server
from troth.core.ca import Authority, Subject, write_leaf
from troth.core.clock import SystemClock
from troth.core.jose import generate_signing_key
from troth.data.roles import APP
from troth.hosting.ports import free_ports

PEERS = Path(__file__).parent / "peers"
CLIENT = "bench"
START_SECONDS = 60


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """What can be asked of a running peer. `userinfo` is a token that its userinfo endpoint accepts."""

    port: int
    secret: str
    certificates: "Certificates"
    refresh: tuple[str, ...]
    access: str
    userinfo: str = ""

    def refreshing(self, path: str) -> Side:
        """Each connection exchanges its refresh token for the next one."""
        body = b"grant_type=refresh_token&refresh_token={next}"
        return self._side(self._post(path, body, "{length}"), follow="refresh_token", starts=self.refresh)

    def introspecting(self, path: str) -> Side:
        """The same token is asked about again and again."""
        body = f"token={quote(self.access)}".encode()
        return self._side(self._post(path, body, str(len(body))))

    def asking_who(self, path: str) -> Side:
        """Whose token this is: the nearest that the peer has to our check of a session."""
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.userinfo}"
        return self._side(f"{head}\r\n\r\n".encode())

    def _post(self, path: str, body: bytes, length: str) -> bytes:
        basic = base64.b64encode(f"{CLIENT}:{self.secret}".encode()).decode()
        lines = (
            f"POST {path} HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            f"authorization: Basic {basic}",
            "content-type: application/x-www-form-urlencoded",
            f"content-length: {length}",
        )
        return "\r\n".join((*lines, "", "")).encode() + body

    def _side(self, request: bytes, *, follow: str = "", starts: tuple[str, ...] = ()) -> Side:
        caller = self.certificates
        return Side(
            port=self.port,
            ca=str(caller.ca),
            certificate=str(caller.certificate),
            key=str(caller.key),
            request=request,
            follow=follow,
            starts=starts,
        )


class Told(msgspec.Struct, frozen=True):
    """What a peer prints about the tokens that were made for the comparison."""

    refresh: tuple[str, ...]
    access: str
    userinfo: str = ""


class Certificates(msgspec.Struct, frozen=True):
    """Of the loader, and what the peer listens with."""

    ca: Path
    certificate: Path
    key: Path
    server_certificate: Path
    server_key: Path
    client_ca: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        """A fresh authority for each side."""
        now, day = SystemClock().now(), timedelta(days=1)
        servers = Authority.open(folder, "peer-servers", now=now)
        callers = Authority.open(folder, "peer-callers", now=now)
        server = write_leaf(
            servers.issue(
                Subject(common_name="peer", usage="server", addresses=("127.0.0.1",)), now=now, lifetime=day
            ),
            folder,
            "peer",
        )
        caller = write_leaf(
            callers.issue(Subject(common_name="loader", usage="client"), now=now, lifetime=day),
            folder,
            "loader",
        )
        return cls(
            servers.certificate_file,
            caller.certificate,
            caller.key,
            server.certificate,
            server.key,
            callers.certificate_file,
        )


@contextmanager
def oidc_provider(folder: Path, *, chains: int) -> Generator[Peer]:
    """node oidc-provider while the block runs. Raises RuntimeError when it does not start."""
    place = PEERS / "oidc_provider"
    if not (place / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--loglevel", "error"], cwd=place, check=True)
    certificates, port, secret = Certificates.make(folder), free_ports(1)[0], secrets.token_urlsafe(32)
    settings = {
        "port": port,
        "secret": secret,
        "key": str(certificates.server_key),
        "certificate": str(certificates.server_certificate),
        "client_ca": str(certificates.client_ca),
        "chains": chains,
        "signing_key": generate_signing_key().decode(),
    }
    file = _write(folder / "oidc-provider.json", settings)
    argv = ["node", str(place / "server.mjs"), str(file)]
    with _running(argv, environment={"NODE_ENV": "production"}) as process:
        told = _first_line(process)
        yield Peer(
            port=port,
            secret=secret,
            certificates=certificates,
            refresh=told.refresh,
            access=told.access,
            userinfo=told.userinfo,
        )


@contextmanager
def django_toolkit(folder: Path, server: Server, *, chains: int) -> Generator[Peer]:
    """django-oauth-toolkit on `server` while the block runs; the database `peer` must exist and be the
    application's own. Raises RuntimeError when it does not start."""
    place = PEERS / "django_toolkit"
    python = place / ".venv" / "bin" / "python"
    if not python.exists():
        _install(place)
    certificates, port, secret = Certificates.make(folder), free_ports(1)[0], secrets.token_urlsafe(32)
    target = server.target(APP, "peer")
    settings = {
        "secret": secret,
        "chains": chains,
        "database_port": server.endpoint.port,
        "database_user": APP,
        "database_ca": str(target.ca),
        "database_certificate": str(target.certificate),
        "database_key": str(target.key),
    }
    file = _write(folder / "django-toolkit.json", settings)
    environment = {"BENCH_PEER": str(file), "PYTHONPATH": str(place)}
    prepared = subprocess.run(
        [python, place / "prepare.py"],
        env={**_plain(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if prepared.returncode:
        raise RuntimeError(f"django-oauth-toolkit could not be prepared:\n{prepared.stderr}")
    told = msgspec.json.decode(prepared.stdout, type=Told)
    argv = [
        *(str(place / ".venv" / "bin" / "granian"), "--interface", "wsgi", "--no-ws", "--log-level", "error"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--blocking-threads", "4"),
        *("--ssl-certificate", str(certificates.server_certificate)),
        *("--ssl-keyfile", str(certificates.server_key)),
        *("--ssl-ca", str(certificates.client_ca), "--ssl-client-verify", "site_wsgi:application"),
    ]
    with _running(argv, environment=environment):
        yield Peer(
            port=port,
            secret=secret,
            certificates=certificates,
            refresh=told.refresh,
            access=told.access,
        )


def _install(place: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", ".venv"], cwd=place, check=True)
    words = ("pip", "sync", "--quiet", "--require-hashes", "--python", ".venv/bin/python")
    subprocess.run([*uv, *words, "requirements.lock"], cwd=place, check=True)


def _write(file: Path, settings: Mapping[str, object]) -> Path:
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(settings))
    return file


def _plain() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@contextmanager
def _running(argv: list[str], *, environment: dict[str, str]) -> Generator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", *argv],
        env={**_plain(), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _first_line(process: "subprocess.Popen[str]") -> Told:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the peer ended before it was ready")
    return msgspec.json.decode(line, type=Told)
