"""Spans as OTLP writes them: protocol buffers of opentelemetry-proto 1.x, and nothing of it that is not used.

ExportTraceServiceRequest (1: ResourceSpans (1: Resource (1: attributes), 2: ScopeSpans (1: Scope (1: name,
2: version), 2: Span …))). The fields of a span that are written: 1 trace_id, 2 span_id, 4 parent_span_id,
5 name, 6 kind, 7 start, 8 end, 9 attributes, 15 status, 16 flags.
"""

import struct
from collections.abc import Iterable, Mapping

from troth import VERSION
from troth.core.tracing import Span

SCOPE = "troth"
_KINDS = {"server": 2, "client": 3}
_ERROR = 2
_FLAGS = 0x101
"""Sampled; and it is known that the parent is not (0x200) in another process: left unsaid but for 0x100."""


def encode(spans: Iterable[tuple[str, Span]], *, platform: str) -> bytes:
    """The body of one export: each span with its source, `edge`, `web-1`, `portal-2`."""
    sources: dict[str, list[Span]] = {}
    for source, span in spans:
        sources.setdefault(source, []).append(span)
    scope = _bytes(1, _text(1, SCOPE) + _text(2, VERSION))
    return b"".join(
        _bytes(
            1,
            _bytes(1, _attributes(1, _resource(source, platform)))
            + _bytes(2, scope + b"".join(_bytes(2, _span(one)) for one in told)),
        )
        for source, told in sources.items()
    )


def _resource(source: str, platform: str) -> Mapping[str, str | int]:
    service = source.rpartition("-")[0] or source
    return {
        "service.name": service,
        "service.namespace": platform,
        "service.instance.id": source,
        "service.version": VERSION,
    }


def _span(span: Span) -> bytes:
    parts = (
        _bytes(1, bytes.fromhex(span.trace)),
        _bytes(2, bytes.fromhex(span.span)),
        _bytes(4, bytes.fromhex(span.parent)) if span.parent else b"",
        _text(5, span.name),
        _number(6, _KINDS[span.kind]),
        _fixed64(7, span.begin),
        _fixed64(8, span.end),
        _attributes(9, span.attributes),
        _bytes(15, _number(3, _ERROR)) if span.failed else b"",
        _fixed32(16, _FLAGS),
    )
    return b"".join(parts)


def _attributes(field: int, attributes: Mapping[str, str | int]) -> bytes:
    """KeyValue (1: key, 2: AnyValue (1: text, 3: whole number))."""
    return b"".join(
        _bytes(
            field, _text(1, key) + _bytes(2, _text(1, value) if isinstance(value, str) else _number(3, value))
        )
        for key, value in attributes.items()
    )


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode(errors="replace"))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _fixed64(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<Q", value)


def _fixed32(field: int, value: int) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<I", value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers count as 64 bits (two's complement)."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
