"""Log lines of the platform's own processes and of applications: text for people, or one JSON object a line.

Every line that belongs to a request carries its number, which the edge gave it. What a message holds that
came from outside cannot begin a line of its own (log injection, CWE-117).
"""

import io
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Literal, cast

import msgspec

from troth.core.clock import to_wire

LogFormat = Literal["text", "json"]

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The number of the request that this task works on; empty outside of one."""

MOST_CHARACTERS = 16_384
"""Of one message, and of one exception; what is longer is cut."""

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line as programs read it. `source` is the process: `keeper`, `web-1`, `portal-2`."""

    time: str
    level: str
    source: str
    message: str
    logger: str = ""
    request_id: str = ""
    exception: str = ""


class TextLines(logging.Formatter):
    """`2026-11-25T12:00:02.000Z WARNING message`, with the request's number before the message."""

    converter = time.gmtime

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        number = request_id.get()
        said = record.message[:MOST_CHARACTERS].translate(_CONTROL)
        record.message = f"[{number}] {said}" if number else said
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def format(self, record: logging.LogRecord) -> str:
        exception = self.formatException(record.exc_info) if record.exc_info else ""
        return encode_line(
            Line(
                time=to_wire(datetime.fromtimestamp(record.created, UTC)),
                level=record.levelname.lower(),
                source=self._source,
                message=record.getMessage()[:MOST_CHARACTERS],
                logger=record.name,
                request_id=request_id.get(),
                exception=exception[-MOST_CHARACTERS:],
            )
        )


class Captured(io.TextIOBase):
    """Stands for standard output or standard error: each line written to it becomes a JSON object. What an
    application prints or logs by means of its own is captured so, as long as it goes through Python."""

    def __init__(self, raw: IO[str], source: str, level: str, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._raw, self._source, self._level, self._now = raw, source, level, now
        self._rest = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """For what writes without Python, such as the last words of a process that was aborted."""
        return self._raw.fileno()

    def write(self, text: str, /) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > MOST_CHARACTERS:
                lines, self._rest = [*lines, self._rest], ""
            for line in lines:
                self._tell(line)
        return len(text)

    def flush(self) -> None:
        """Half a line waits for its other half."""
        self._raw.flush()

    def _tell(self, line: str) -> None:
        if not line:
            return
        told = Line(
            time=to_wire(self._now()),
            level=self._level,
            source=self._source,
            message=line[:MOST_CHARACTERS],
            request_id=request_id.get(),
        )
        self._raw.write(encode_line(told) + "\n")
        self._raw.flush()


def encode_line(line: Line) -> str:
    """One line of JSON; what is no text (lone surrogates) is replaced."""
    try:
        return msgspec.json.encode(line).decode()
    except UnicodeEncodeError:
        fixed = {name: value.encode(errors="replace").decode() for name, value in _texts(line).items()}
        return msgspec.json.encode(Line(**fixed)).decode()


def log_as(form: LogFormat, source: str) -> None:
    """Have this process write its own log lines to standard error in this form. May be called again."""
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(JsonLines(source) if form == "json" else TextLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request would drown the rest


def capture(form: LogFormat, source: str, now: Callable[[], datetime]) -> None:
    """Have everything that this process prints come in this form."""
    if form == "json":
        assert sys.__stdout__ is not None and sys.__stderr__ is not None, "a process of the supervisor's"
        sys.stdout = Captured(sys.__stdout__, source, "info", now)
        sys.stderr = Captured(sys.__stderr__, source, "error", now)


def _texts(line: Line) -> dict[str, str]:
    return cast("dict[str, str]", msgspec.structs.asdict(line))
