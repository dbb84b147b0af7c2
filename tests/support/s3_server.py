"""A real S3 server for tests: SeaweedFS on loopback, behind TLS of an authority of our own.

`weed mini` would start its administration and workers as well; `weed server -s3` is ready in 3–4 s and takes
about 130 MB.
"""

import asyncio
import json
import shutil
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import httpx

from support.postgres import DIE_WITH_PARENT
from troth.core.ca import Authority, Subject, write_leaf
from troth.core.clock import SystemClock
from troth.core.secret import Secret
from troth.data.stores.bandwidth import Throttle
from troth.data.stores.credentials import AccessKey
from troth.data.stores.s3 import S3Place
from troth.data.stores.s3_requests import S3Requests
from troth.data.stores.signing import Signer
from troth.data.stores.waiting import Patience

KEY = AccessKey("testkey", Secret(b"testsecret"))
CREDENTIALS = b"access_key_id = testkey\nsecret_access_key = testsecret\n"
REGION = "eu-west-1"


class S3Server:
    """Started by `start`, ended by `stop`; `ca` is what a client trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        now = SystemClock().now()
        authority = Authority.open(folder, "store", now=now)
        subject = Subject(common_name="localhost", usage="server")
        self._leaf = write_leaf(
            authority.issue(subject, now=now, lifetime=timedelta(days=1)), folder, "server"
        )
        self.ca = authority.certificate_file
        self._ports = _port_pairs(4)
        self.endpoint = f"https://127.0.0.1:{self._ports[3]}"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Return when it answers."""
        process = self._begin()
        async with asyncio.timeout(60):
            while not await self._answers():
                assert process.poll() is None, (self._folder / "log").read_text()[-2000:]
                await asyncio.sleep(0.1)

    def _begin(self) -> subprocess.Popen[bytes]:
        (self._folder / "s3.json").write_text(json.dumps(_IDENTITIES))
        (self._folder / "data").mkdir(exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*DIE_WITH_PARENT, shutil.which("weed") or "weed", "-logtostderr", *self._options()],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(30)
        self._process = None
        for port in self._ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink()
            for path in Path("/tmp").glob(f"seaweedfs-*-{port + 10_000}.sock"):
                path.unlink()

    async def make_bucket(self, name: str, *, lock: bool = False) -> S3Place:
        """A new bucket, as a place for a store."""
        requests = self.requests(name)
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if lock else {}
        await requests.ask("PUT", headers=headers)
        await requests.close()
        return S3Place(self.endpoint, REGION, name, "troth")

    def requests(self, bucket: str) -> S3Requests:
        """Bare requests to one bucket."""
        signer = Signer(KEY.id, KEY.secret, REGION)
        patience = Patience(seconds=20)
        return S3Requests(
            self.endpoint,
            bucket,
            signer,
            clock=SystemClock(),
            ca=self.ca,
            patience=patience,
            throttle=Throttle(0),
        )

    def _options(self) -> tuple[str, ...]:
        master, volume, filer, s3 = self._ports
        return (
            "server",
            f"-dir={self._folder / 'data'}",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
            *(f"-master.port={master}", "-master.volumeSizeLimitMB=64"),
            *(f"-volume.port={volume}", "-volume.max=60", "-volume.minFreeSpace=64MiB"),
            *("-filer", f"-filer.port={filer}", f"-filer.localSocket={self._folder / 'filer.sock'}"),
            *("-s3", f"-s3.port={s3}", f"-s3.config={self._folder / 's3.json'}", "-s3.iam=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={self._folder / 's3.sock'}"),
            *(f"-s3.cert.file={self._leaf.certificate}", f"-s3.key.file={self._leaf.key}"),
        )

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient(verify=False, timeout=5, trust_env=False) as client:  # noqa: S501
                return (await client.get(self.endpoint)).status_code == 403
        except httpx.TransportError:
            return False


_IDENTITIES = {
    "identities": [
        {
            "name": "troth",
            "credentials": [{"accessKey": KEY.id, "secretKey": KEY.secret.reveal().decode()}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def _port_pairs(count: int) -> list[int]:
    """Free ports whose numbers plus 10,000 are free too: SeaweedFS takes those for its own traffic."""
    found: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(found) < count:
            first, second = socket.socket(), socket.socket()
            held += [first, second]
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                if port + 10_000 < 65_536:
                    second.bind(("127.0.0.1", port + 10_000))
                    found.append(port)
            except OSError:
                continue
    finally:
        for one in held:
            one.close()
    return found
