"""What the edge takes from every request before anything else is done with it: what only it may say."""

from typing import Any

from troth.hosting.edge_trace import UNTRUSTED as UNTRUSTED_TRACES

Json = dict[str, Any]

NUMBER = "{http.request.uuid}"
"""The edge's own number of the request."""

_REQUEST_ID = "^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""As the edge makes them: nothing else is taken from an application, which could forge lines of a log."""

UNTRUSTED = [
    "Forwarded",
    "X-Forwarded-*",
    "X-Troth-*",
    "X-Real-Ip",
    "True-Client-Ip",
    "Cf-Connecting-Ip",
    "X-Cluster-Client-Ip",
    "X-Client-*",
    "X-Ssl-*",
    "Remote-*",  # Remote-User: whom another proxy would have vouched for
    "X-Remote-*",
    "X-Host",
    "X-Scheme",
    "X-Original-*",  # path override: routed by one path, served by another
    "X-Rewrite-*",
    "X-Http-Method*",  # method override: judged as a GET, carried out as a DELETE
    "X-Method-Override",
    *UNTRUSTED_TRACES,
    "Proxy",  # httpoxy, CVE-2016-5385
    "*_*",  # X_Troth_Person becomes X-Troth-Person in any server that speaks CGI or WSGI inside
]
"""Request headers that only the edge or an instance may set; dropped wherever they come from a client."""


def clean_of_applications() -> Json:
    """For requests of applications, who may pass on the number of the request that they work on."""
    return {"handler": "headers", "request": {"delete": UNTRUSTED}}


def number_unless_passed_on() -> list[Json]:
    """For those of them that do not."""
    passed_on = {"header_regexp": {"X-Request-Id": {"pattern": _REQUEST_ID}}}
    number = {"handler": "headers", "request": {"set": {"X-Request-Id": [NUMBER]}}}
    return [{"match": [{"not": [passed_on]}], "handle": [number]}]


def connections() -> list[Json]:
    """`Connection: Authorization` tells a proxy to drop that header: a client would undo what we add."""
    upgrade = {"header": {"Connection": ["*pgrade*"], "Upgrade": ["websocket"]}}
    plain = {"handler": "headers", "request": {"delete": ["Connection", "Upgrade"]}}
    asked = {"handler": "headers", "request": {"set": {"Connection": ["Upgrade"]}}}
    return [
        {"match": [{"not": [upgrade]}], "handle": [plain]},
        {"match": [upgrade], "handle": [asked]},
    ]
