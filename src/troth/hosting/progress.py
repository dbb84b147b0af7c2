"""What the keeper tells `troth up` while it starts and stops: a JSON object a line on standard output."""

import os
from pathlib import Path
from typing import Literal, cast

import msgspec

from troth.core.errors import ConfigError, PlatformError, TrothError, UsageError
from troth.hosting.plan import Step, Summary
from troth.hosting.wire import decode, encode

StepCondition = Literal["waiting", "running", "done", "failed", "stopping", "stopped"]


class Steps(msgspec.Struct, frozen=True, tag="steps"):
    """The list, once, as pairs of name and title."""

    steps: tuple[tuple[str, str], ...]


class StepChange(msgspec.Struct, frozen=True, tag="step"):
    """One line of the list changed. `seconds` since the step began."""

    name: str
    condition: StepCondition
    words: str = ""
    seconds: float = 0.0


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Everything stands. `seconds` since the keeper began."""

    summary: Summary
    seconds: float


class Resumed(msgspec.Struct, frozen=True, tag="resumed"):
    """The keeper died; this is another one, which has taken over so many processes. `seconds` since it
    began."""

    taken_over: int
    seconds: float


class Failed(msgspec.Struct, frozen=True, tag="failed", kw_only=True):
    """The start was given up: a TrothError on its way to another process. `usage` means exit status 2."""

    message: str
    hint: str = ""
    detail: str = ""
    usage: bool = False
    file: Path | None = None
    line: int | None = None
    key: str = ""
    promise: str = ""
    others: tuple["Failed", ...] = ()


class Stopping(msgspec.Struct, frozen=True, tag="stopping"):
    """The platform begins to stop."""

    reason: str


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """Every process that the keeper started has ended."""

    seconds: float


Event = Steps | StepChange | Ready | Resumed | Failed | Stopping | Stopped


class Progress:
    """Writes events; once nobody reads any more (`troth up --detach` has left) they are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def tell(self, event: Event) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, encode(event) + b"\n")
        except (BrokenPipeError, BlockingIOError):
            self._descriptor = None


class Reader:
    """Turns the bytes of the pipe back into events, whatever pieces they come in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[Event]:
        """The events completed by this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [_decode(line) for line in lines if line]


def _decode(line: bytes) -> Event:
    return decode(line, cast("type[Event]", Event))


def titles(steps: tuple[Step, ...]) -> Steps:
    """The list as people see it."""
    return Steps(tuple((step.name, step.title) for step in steps))


def failed(error: TrothError) -> Failed:
    """An error as it crosses to another process."""
    usage, hint = isinstance(error, UsageError), str(getattr(error, "hint", ""))
    if not isinstance(error, ConfigError):
        return Failed(message=error.public, hint=hint, detail=error.detail, usage=usage)
    return Failed(
        message=error.public,
        hint=hint,
        usage=True,
        file=error.file,
        line=error.line,
        key=error.key,
        promise=error.promise,
        others=tuple(failed(other) for other in error.others),
    )


def error_of(event: Failed) -> TrothError:
    """The error again, on the other side."""
    if not event.usage:
        return PlatformError(event.message, hint=event.hint, detail=event.detail)
    return _config_error(event)


def _config_error(event: Failed) -> ConfigError:
    error = ConfigError(
        event.message,
        file=event.file,
        line=event.line,
        key=event.key,
        hint=event.hint,
        promise=event.promise,
    )
    error.others = tuple(_config_error(other) for other in event.others)
    return error
