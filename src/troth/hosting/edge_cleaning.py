"""What the edge takes from every request before anything else is done with it: what only it may say."""

from typing import Any

from troth.hosting.edge_trace import UNTRUSTED as UNTRUSTED_TRACES

Json = dict[str, Any]

NUMBER = "{http.request.uuid}"
"""The edge's own number of the request."""

_REQUEST_ID = "^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""As the edge makes them: nothing else is taken from an application, which could forge lines of a log."""

UNTRUSTED = [
    "forwarded",
    "x-forwarded-*",
    "x-troth-*",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-cluster-client-ip",
    "x-client-*",
    "x-ssl-*",
    "remote-*",  # Remote-User: whom another proxy would have vouched for
    "x-remote-*",
    "x-host",
    "x-scheme",
    "x-original-*",  # path override: routed by one path, served by another
    "x-rewrite-*",
    "x-http-method*",  # method override: judged as a GET, carried out as a DELETE
    "x-method-override",
    *UNTRUSTED_TRACES,
    "proxy",  # httpoxy, CVE-2016-5385
    "*_*",  # X_Troth_Person becomes X-Troth-Person in any server that speaks CGI or WSGI inside
]
"""Request headers that only the edge or an instance may set; dropped wherever they come from a client. In
small letters, as Caddy compares them: others it would make small for each request anew."""

_UPGRADE = {"header": {"Connection": ["*pgrade*"], "Upgrade": ["websocket"]}}


def clean(secured: Json) -> list[Json]:
    """For requests of the public: take from a request what its sender has no right to say, number it, and do
    what `secured` does to its answer. One step for each request, as each costs."""
    numbered = {"X-Request-Id": [NUMBER]}
    plain = {"delete": [*UNTRUSTED, "connection", "upgrade"], "set": numbered}
    asked = {"delete": UNTRUSTED, "set": {**numbered, "Connection": ["Upgrade"]}}
    return [
        {"match": [{"not": [_UPGRADE]}], "handle": [{**secured, "request": plain}]},
        {"match": [_UPGRADE], "handle": [{**secured, "request": asked}]},
    ]


def clean_of_applications() -> Json:
    """For requests of applications, who may pass on the number of the request that they work on."""
    return {"handler": "headers", "request": {"delete": UNTRUSTED}}


def number_unless_passed_on() -> list[Json]:
    """For those of them that do not."""
    passed_on = {"header_regexp": {"X-Request-Id": {"pattern": _REQUEST_ID}}}
    number = {"handler": "headers", "request": {"set": {"X-Request-Id": [NUMBER]}}}
    return [{"match": [{"not": [passed_on]}], "handle": [number]}]


def connections() -> list[Json]:
    """For requests of applications; `clean` does the same: `Connection: Authorization` tells a proxy to drop
    that header, and a client would undo what we add."""
    plain = {"handler": "headers", "request": {"delete": ["Connection", "Upgrade"]}}
    asked = {"handler": "headers", "request": {"set": {"Connection": ["Upgrade"]}}}
    return [
        {"match": [{"not": [_UPGRADE]}], "handle": [plain]},
        {"match": [_UPGRADE], "handle": [asked]},
    ]
