"""What is sent is OTLP: read back by the definitions of OpenTelemetry's own."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Told
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from troth import VERSION
from troth.core.tracing import Span
from troth.hosting.tracing.otlp import encode

TRACE = "0af7651916cd43dd8448eb211c80319c"
BEGIN = 1_700_000_000_123_456_789


def spans(*told: tuple[str, Span]) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(encode(told, platform="Résidents"))


def span(**changes: object) -> Span:
    given = {"trace": TRACE, "span": "b7ad6b7169203331", "name": "GET", "begin": BEGIN, "end": BEGIN + 1}
    return Span(**{**given, **changes})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_a_span_is_read_back_as_it_was() -> None:
    attributes: dict[str, str | int] = {
        "http.route": "/api/ä",
        "http.response.status_code": 200,
        "big": 1 << 40,
    }
    request = spans(("web-1", span(parent="00f067aa0ba902b7", attributes=attributes)))
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    (told,) = scope.spans
    assert told.trace_id.hex() == TRACE
    assert (told.span_id.hex(), told.parent_span_id.hex()) == ("b7ad6b7169203331", "00f067aa0ba902b7")
    assert (told.name, told.kind) == ("GET", Told.SPAN_KIND_SERVER)
    assert (told.start_time_unix_nano, told.end_time_unix_nano) == (BEGIN, BEGIN + 1)
    read = {one.key: one.value.string_value or one.value.int_value for one in told.attributes}
    assert read == attributes
    assert told.flags & 1
    assert told.status.code == Status.STATUS_CODE_UNSET
    assert (scope.scope.name, scope.scope.version) == ("troth", VERSION)
    assert ExportTraceServiceRequest.FromString(request.SerializeToString()) == request


@pytest.mark.parametrize(
    ("source", "service"), [("edge", "edge"), ("web-1", "web"), ("my-portal-12", "my-portal")]
)
def test_each_source_is_a_resource_that_says_which_service_it_is(source: str, service: str) -> None:
    (resource,) = spans((source, span())).resource_spans
    told = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert told == {
        "service.name": service,
        "service.namespace": "Résidents",
        "service.instance.id": source,
        "service.version": VERSION,
    }


def test_a_failure_and_a_call_are_told_as_such() -> None:
    request = spans(("web-1", span(kind="client", failed=True)), ("edge", span()), ("web-1", span()))
    first, second = request.resource_spans
    assert [len(one.scope_spans[0].spans) for one in (first, second)] == [2, 1]
    failed = first.scope_spans[0].spans[0]
    assert (failed.kind, failed.status.code) == (Told.SPAN_KIND_CLIENT, Status.STATUS_CODE_ERROR)
    assert failed.parent_span_id == b""
