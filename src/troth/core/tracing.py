"""Spans of one request across the parts that serve it: W3C Trace Context, and nothing that says who asked.

The edge begins every trace and decides whether it is recorded: its identifier is the request's number,
without the hyphens, and the edge's own span has the last half of that number. An instance goes on with what
the edge says, and writes each span into a pipe that the keeper reads. Nobody waits for it: a pipe that is
full loses spans, which are counted. What is not traced costs one look at a variable.

Names and attributes are words of this code: methods, routes without their variable parts, statements without
their values. Never an address, a person, a token or a body.
"""

import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")
Kind = Literal["server", "client"]

STEPS = 4096
"""A share is kept in so many parts of the whole: three hexadecimal digits."""

MOST_BYTES = 4096
"""Of one span in the pipe: written whole or not at all (PIPE_BUF, pipe(7))."""

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_SAMPLED = 1
_FIXED = re.compile(r"[a-z][a-z_.-]{0,31}", re.ASCII)
_CALLED = re.compile(r"\btroth\.(\w{1,63})", re.ASCII)
_WORD = re.compile(r"\s*(\w{1,20})", re.ASCII)
_MOST_PARTS = 5


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of work; times in nanoseconds since 1970. `parent` is empty for the first of a trace, `lost`
    counts the spans that could not be written before it."""

    trace: str
    span: str
    name: str
    begin: int
    end: int
    parent: str = ""
    kind: Kind = "server"
    failed: bool = False
    attributes: dict[str, str | int] = {}
    lost: int = 0


class Context(msgspec.Struct, frozen=True):
    """Where in a trace this task is."""

    trace: str
    span: str


class Pipe:
    """Where a process writes its spans: a FIFO (fifo(7)), opened for both directions, so that it is there
    whether or not the keeper reads it yet. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.lost = 0
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def write(self, span: Span) -> None:
        """Never waits, never raises."""
        line = msgspec.json.encode(msgspec.structs.replace(span, lost=self.lost) if self.lost else span)
        if self._descriptor is None or len(line) >= MOST_BYTES:
            self.lost += 1
            return
        try:
            os.write(self._descriptor, line + b"\n")
        except BlockingIOError:
            self.lost += 1
            return
        self.lost = 0

    def close(self) -> None:
        """Give it back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_NOTHING = nullcontext()
_current: ContextVar[Context | None] = ContextVar("trace", default=None)
_pipe: Pipe | None = None


def trace_into(path: Path) -> None:
    """From now on spans of this process go there. Call it before the process is confined: an application may
    open no file of the platform."""
    global _pipe
    _pipe = Pipe(path)


def read_traceparent(header: str) -> tuple[Context, bool] | None:
    """What a traceparent says, and whether it is recorded (W3C Trace Context, 3.2); None for what is none."""
    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return None
    return Context(found[1], found[2]), bool(int(found[3], 16) & _SAMPLED)


def write_traceparent(context: Context, *, sampled: bool = True) -> str:
    """The header for who is called next."""
    return f"00-{context.trace}-{context.span}-{_SAMPLED if sampled else 0:02x}"


def new_span_id() -> str:
    """Eight random bytes that are not all zero."""
    return f"{secrets.randbits(64) or 1:016x}"


def is_chosen(trace: str, share: float) -> bool:
    """Pure: whether a trace of this identifier is among so many: everybody who is asked says the same."""
    return int(trace[:3], 16) < steps_of(share)


def steps_of(share: float) -> int:
    """A share in parts of `STEPS`; whatever is more than nothing is at least one of them."""
    return min(STEPS, max(1, round(share * STEPS))) if share > 0 else 0


class Open:
    """A span that has begun."""

    def __init__(self, context: Context, parent: str, name: str, kind: Kind) -> None:
        self.context, self.name = context, name
        self.kind: Kind = kind
        self.failed = False
        self.attributes: dict[str, str | int] = {}
        self._parent, self._begin = parent, time.time_ns()

    def finish(self) -> None:
        """Write it."""
        if _pipe is None:
            return
        _pipe.write(
            Span(
                trace=self.context.trace,
                span=self.context.span,
                name=self.name,
                begin=self._begin,
                end=time.time_ns(),
                parent=self._parent,
                kind=self.kind,
                failed=self.failed,
                attributes=self.attributes,
            )
        )


@contextmanager
def serving(parent: Context, name: str) -> Generator[Open]:
    """A request under the edge's span; what is done inside of the block belongs to it."""
    span = Open(Context(parent.trace, new_span_id()), parent.span, name, "server")
    token = _current.set(span.context)
    try:
        yield span
    except BaseException:
        span.failed = True
        raise
    finally:
        _current.reset(token)
        span.finish()


def asking(statement: str) -> AbstractContextManager[object]:
    """A call to the database, for as long as the block lasts; nothing where this task is in no trace."""
    parent = _current.get()
    return _NOTHING if parent is None else _asking(parent, statement)


@contextmanager
def _asking(parent: Context, statement: str) -> Generator[Open]:
    span = Open(Context(parent.trace, new_span_id()), parent.span, name_of_statement(statement), "client")
    span.attributes["db.system.name"] = "postgresql"
    try:
        yield span
    except BaseException:
        span.failed = True
        raise
    finally:
        span.finish()


def over(block: AbstractAsyncContextManager[T]) -> AbstractAsyncContextManager[T]:
    """A transaction as one span, whatever is asked in it; the block itself where this task is in no trace."""
    return block if _current.get() is None else _over(block)


@asynccontextmanager
async def _over(block: AbstractAsyncContextManager[T]) -> AsyncGenerator[T]:
    with asking("transaction"):
        async with block as inner:
            yield inner


def name_of_statement(query: str) -> str:
    """Its first word and the function of ours that it calls, never a value: those stand beside it."""
    word, called = _WORD.match(query), _CALLED.search(query)
    return f"{word[1].lower() if word else 'statement'}{f' troth.{called[1]}' if called else ''}"


def route_of(path: str) -> str:
    """A path of the platform's own without what varies in it: identifiers, and whatever a person may have
    typed. A part that is not plain small letters is shown as `{}`."""
    parts = path.split("/")[1 : _MOST_PARTS + 1]
    return "/" + "/".join(part if _is_fixed(part) else "{}" for part in parts if part)


def _is_fixed(part: str) -> bool:
    return part == "v1" or _FIXED.fullmatch(part) is not None
