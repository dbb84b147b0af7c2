"""The consensus store that decides which database member leads: one etcd node here, alone or one of several.

Alone it holds nothing that survives the machine, and it need not: when it is away the members keep their
roles (Patroni's failsafe mode), and nothing is promoted meanwhile. On several hosts each has a node, and most
of them must agree.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec

from troth.core.ca import LeafFiles
from troth.core.errors import ConfigError, PlatformError
from troth.core.leader import client_context
from troth.core.process import Endpoint, ProcessSpec

_VERSION = re.compile(r"etcd Version: (\d+\.\d+\.\d+)")
_CORRUPTING = ((3, 5, 0), (3, 5, 2))
"""etcd 3.5.0 to 3.5.2 lose committed data after a crash (etcd-io/etcd, issue 13766)."""

UNFIT = "before 3.4 it is too old, and 3.5.0 to 3.5.2 corrupt their data"

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/bin", "/usr/local/bin")
"""Searched after PATH, which often leaves out the first."""

_GO_MEMORY = {"GOMEMLIMIT": "48MiB", "GOGC": "50", "GOMAXPROCS": "2"}


class StoreNode(msgspec.Struct, frozen=True):
    """A node that runs elsewhere: where it answers, and the authority that it is known by."""

    client: Endpoint
    authority: Path


class Consensus(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store listens and the files it needs. `server` is valid as server and as client: etcd's JSON
    gateway calls its own gRPC port with it, and its peers. `cluster` names the peer address of every node, of
    this one too; empty, it stands alone."""

    program: Path
    client: Endpoint
    peer: Endpoint
    authority: Path
    server: LeafFiles
    data: Path
    log: Path
    node: str = "consensus"
    cluster: dict[str, Endpoint] = {}

    @property
    def name(self) -> str:
        return "consensus"


def find_etcd(tools: Path | None = None) -> Path:
    """The etcd program: on PATH, in the system's folders, or in `tools`.

    Without an argument `tools` is what TROTH_TOOLS names, else `.tools` beside the Python environment.
    Raises ConfigError when there is none, or only one that is known to corrupt its data.
    """
    named = tools or Path(os.environ.get("TROTH_TOOLS") or Path(sys.prefix).parent / ".tools")
    search = (os.environ.get("PATH", ""), *SYSTEM_FOLDERS, str(named / "bin"), str(named))
    found = shutil.which("etcd", path=os.pathsep.join(search))
    if found is None:
        raise ConfigError(
            "The program etcd is missing; the database's replica set needs it.",
            hint="In a checkout run `make etcd`; elsewhere install it (Debian: apt-get install etcd-server), "
            "or name its folder in TROTH_TOOLS.",
        )
    _check_version(Path(found))
    return Path(found)


def _check_version(program: Path) -> None:
    try:
        result = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"{program} does not run on this machine ({type(error).__name__}).",
            hint="Install the distribution's etcd: apt-get install etcd-server",
        ) from error
    found = _VERSION.search(result.stdout)
    version = found[1] if found else "of an unknown version"
    if is_unfit(version):
        raise ConfigError(
            f"{program} is etcd {version}, which must not be used: {UNFIT}.",
            hint="Install the distribution's etcd: apt-get install etcd-server",
        )


def is_unfit(version: str) -> bool:
    """Whether etcd of this version must not be used, or it is none."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    numbers = tuple(map(int, found.groups())) if found else (0, 0, 0)
    return numbers < (3, 4, 0) or _CORRUPTING[0] <= numbers <= _CORRUPTING[1]


def consensus_process(consensus: Consensus) -> ProcessSpec:
    """etcd; both of its ports ask for a client certificate of the consensus authority."""
    arguments = {**_meeting(consensus), **_BOUNDS}
    return ProcessSpec(
        name=consensus.name,
        argv=(str(consensus.program), *(f"--{name}={value}" for name, value in arguments.items())),
        environment={"PATH": "/usr/bin:/bin", **_GO_MEMORY},
        folder=consensus.data,
        log=consensus.log,
        stop_seconds=5.0,
    )


def _meeting(consensus: Consensus) -> dict[str, str]:
    """Where it listens, and who is let in."""
    client, peer = f"https://{consensus.client}", f"https://{consensus.peer}"
    certificate, key = str(consensus.server.certificate), str(consensus.server.key)
    authority = str(consensus.authority)
    cluster = consensus.cluster or {consensus.node: consensus.peer}
    return {
        "name": consensus.node,
        "data-dir": str(consensus.data),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "pre-vote": "true",  # a node that was cut off does not unsettle the others when it returns
        "initial-cluster": ",".join(f"{name}=https://{place}" for name, place in cluster.items()),
        "cert-file": certificate,
        "key-file": key,
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": certificate,
        "peer-key-file": key,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        "cipher-suites": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    }


_BOUNDS = {
    "quota-backend-bytes": str(64 * 2**20),
    "auto-compaction-mode": "revision",
    "auto-compaction-retention": "1000",
    "snapshot-count": "5000",
    "max-snapshots": "2",
    "max-wals": "2",
    "max-request-bytes": "262144",
    "logger": "zap",
    "log-outputs": "stderr",
    "log-level": "warn",
}
"""Patroni keeps a few kilobytes here: memory and disk stay near that."""


async def consensus_is_ready(consensus: Consensus, client: LeafFiles) -> bool:
    """Whether the store answers and can agree on something."""
    try:
        answer = await ask_status(consensus, client)
    except (httpx.HTTPError, OSError):
        return False
    return answer.get("leader", "0") != "0"


async def ask_status(node: Consensus | StoreNode, client: LeafFiles) -> dict[str, Any]:
    """What a node says of itself. Raises httpx.HTTPError, OSError or ValueError when it does not say."""
    answer = await _post(node, client, "maintenance/status", {})
    answer.raise_for_status()
    return answer.json()


async def release_leadership(
    consensus: Consensus | StoreNode, client: LeafFiles, *, scope: str, member: str
) -> bool:
    """Give up the lead on behalf of `member`, so that the others need not wait for its lease to run out.

    Call this only when its Patroni *and* its PostgreSQL are known to be dead: a living leader would go on
    until its next look at the store. False when another member leads already. Raises PlatformError when the
    store does not answer.
    """
    key = _encode(f"/troth/{scope}/leader")
    body = {
        "compare": [{"key": key, "target": "VALUE", "result": "EQUAL", "value": _encode(member)}],
        "success": [{"request_delete_range": {"key": key}}],
    }
    try:
        answer = await _post(consensus, client, "kv/txn", body)
        answer.raise_for_status()
    except (httpx.HTTPError, OSError) as error:
        raise PlatformError("The consensus store does not answer.", detail=repr(error)) from error
    return bool(answer.json().get("succeeded", False))


async def claim_initialized(
    consensus: Consensus | StoreNode, client: LeafFiles, *, scope: str, system: str
) -> None:
    """Say that the set has data already, of the database system with this identifier, if nothing is said yet.

    Else the members would race to make a new database, and one without data could win. Raises PlatformError
    when the store does not answer.
    """
    key = _encode(f"/troth/{scope}/initialize")
    body = {
        "compare": [{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}],
        "success": [{"request_put": {"key": key, "value": _encode(system)}}],
    }
    try:
        answer = await _post(consensus, client, "kv/txn", body)
        answer.raise_for_status()
    except (httpx.HTTPError, OSError) as error:
        raise PlatformError("The consensus store does not answer.", detail=repr(error)) from error


async def _post(
    consensus: Consensus | StoreNode, client: LeafFiles, method: str, body: object
) -> httpx.Response:
    context = client_context(consensus.authority, client.certificate, client.key)
    async with httpx.AsyncClient(verify=context, timeout=3.0, trust_env=False) as http:
        return await http.post(f"https://{consensus.client}/v3/{method}", json=body)


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
