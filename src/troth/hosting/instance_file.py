"""INSTANCE.json: what `hosting.runner` is told. Apart from it, so that the keeper loads no web server."""

from pathlib import Path
from typing import Literal

import msgspec

from troth.core.logs import LogFormat


class InstanceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """INSTANCE.json. `target` is `module:attribute`, with `factory` a callable that makes the application.

    `folder` is put on sys.path; `environment` is set before `target` is imported. Callers must show a
    certificate of `client_ca`. `drain_seconds` bounds what SIGTERM waits for. `pulse` is the file in
    which the instance tells how it goes and the keeper whether it may be sent requests.
    An application sees nothing below `forbidden`, the platform's state, and writes to `temporary` alone;
    `user` is the number that it runs under where the platform is root's. `log_format` is that of what it
    writes to its log, `spans` the pipe for what is traced.
    """

    name: str
    kind: Literal["web", "app"]
    target: str
    folder: Path
    port: int
    certificate: Path
    key: Path
    client_ca: Path
    factory: bool = False
    host: str = "127.0.0.1"
    environment: dict[str, str] = {}
    drain_seconds: float = 8.0
    pulse: Path | None = None
    forbidden: Path | None = None
    temporary: Path | None = None
    user: int | None = None
    log_format: LogFormat = "text"
    spans: Path | None = None
