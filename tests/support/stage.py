"""One instance as a real process, with the authorities around it, for tests."""

import http.client
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from support.waiting import until, until_answered
from troth.core.ca import Authority, LeafFiles, Subject, Usage, write_leaf
from troth.core.logs import LogFormat
from troth.core.process import Endpoint
from troth.hosting.health import ReadinessProbe
from troth.hosting.instance_file import InstanceFile
from troth.hosting.ports import free_ports
from troth.hosting.pulse import PulseFile
from troth.hosting.wire import encode


class Stage:
    """Authorities, certificates, and one instance that can be started."""

    def __init__(self, folder: Path, application: str) -> None:
        self.folder = folder
        self.instances = Authority.open(folder / "authorities", "instances", now=datetime.now(UTC))
        self.callers = Authority.open(folder / "authorities", "callers", now=datetime.now(UTC))
        self.strangers = Authority.open(folder / "authorities", "strangers", now=datetime.now(UTC))
        self.own = self.issue(self.instances, "server", "own")
        self.keeper = self.issue(self.callers, "client", "keeper")
        self.stranger = self.issue(self.strangers, "client", "stranger")
        self.endpoint = Endpoint("127.0.0.1", free_ports(1)[0])
        self.log = folder / "log"
        self.pulse = PulseFile(folder / "pulse")
        self.state, self.temporary = folder / "state", folder / "temporary"
        self.state.mkdir()
        (self.state / "root.key").write_text("secret")
        self.temporary.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.log_format: LogFormat = "text"
        (folder / "toy_application.py").write_text(application)

    def issue(self, authority: Authority, usage: Usage, name: str) -> LeafFiles:
        subject = Subject(common_name=name, usage=usage)
        leaf = authority.issue(subject, now=datetime.now(UTC), lifetime=timedelta(days=1))
        return write_leaf(leaf, self.folder, name)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        instance = InstanceFile(
            name="toy-1",
            kind="app",
            target="toy_application:make",
            factory=True,
            folder=self.folder,
            port=self.endpoint.port,
            certificate=self.own.certificate,
            key=self.own.key,
            client_ca=self.callers.certificate_file,
            environment={"GREETING": "hello", **environment},
            pulse=self.pulse.path,
            log_format=self.log_format,
        )
        instance = msgspec.structs.replace(instance, forbidden=self.state, temporary=self.temporary)
        file = self.folder / "instance.json"
        file.write_bytes(encode(instance))
        argv = (sys.executable, "-I", "-m", "troth.hosting.runner", str(file))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin"})
        return self.process

    def probe(self) -> ReadinessProbe:
        return ReadinessProbe(
            self.instances.certificate_file, self.keeper.certificate, self.keeper.key, seconds=5.0
        )

    def connect(self, files: LeafFiles | None) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self.instances.certificate_file)
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return http.client.HTTPSConnection(self.endpoint.host, self.endpoint.port, context=context, timeout=5)

    async def until_ready(self) -> None:
        probe = self.probe()
        await until_answered(lambda: probe.is_ready(self.endpoint))

    async def is_held(self) -> bool:
        """Whether it tells the edge to send nothing."""
        return (await self.probe().ask(self.endpoint)).status == 503

    async def until_logged(self, words: str) -> None:
        await until(lambda: words in self.log.read_text())
