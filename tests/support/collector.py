"""A collector of traces on this machine: real HTTPS, and its mail read by OpenTelemetry's definitions."""

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.receiver import Receiver


class Seen(msgspec.Struct, frozen=True):
    """One span as the collector understood it."""

    service: str
    trace: str
    span: str
    parent: str
    name: str
    attributes: dict[str, str | int]


def spans_of(receiver: Receiver) -> list[Seen]:
    """Everything that was taken so far."""
    found: list[Seen] = []
    for one in receiver.received:
        request = ExportTraceServiceRequest.FromString(one.body)
        for resource in request.resource_spans:
            said = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                found += [_seen(said["service.name"], span) for span in scope.spans]
    return found


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        service,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        {one.key: one.value.string_value or one.value.int_value for one in span.attributes},
    )
