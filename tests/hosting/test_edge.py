"""The rendered configuration, read as a contract; the real edge is in the files beside this one."""

import json
from pathlib import Path
from typing import Any

import msgspec

from troth.core.ca import LeafFiles
from troth.core.process import Endpoint
from troth.hosting.edge import render
from troth.hosting.edge_state import (
    EdgeApp,
    EdgeDomain,
    EdgeState,
    PrivateListener,
    service_name,
)


def leaf(name: str) -> LeafFiles:
    return LeafFiles(Path(f"/s/{name}.pem"), Path(f"/s/{name}.key"))


def place(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)


STATE = EdgeState(
    address="127.0.0.1",
    https_port=8443,
    http_port=8080,
    domains=(
        EdgeDomain("residents.localhost", "portal", leaf("residents")),
        EdgeDomain("owners.localhost", "portal", leaf("owners")),
        EdgeDomain("shop.localhost", "shop", leaf("shop")),
    ),
    web=(place(20001), place(20002)),
    apps=(EdgeApp("portal", (place(20003), place(20004))), EdgeApp("shop", (place(20005),), max_body=5)),
    client=leaf("edge-client"),
    instances_ca=Path("/s/instances.pem"),
    private=PrivateListener(place(20009), leaf("edge-server"), Path("/s/apps.pem")),
    admin_socket=Path("/s/edge.sock"),
    storage=Path("/s/edge"),
    access_log=Path("/s/access.log"),
    log=Path("/s/edge.log"),
)


def servers(state: EdgeState = STATE) -> dict[str, Any]:
    return render(state)["apps"]["http"]["servers"]


def proxies() -> list[dict[str, Any]]:
    """Every handler that passes requests on."""
    routes = [route for server in servers().values() for route in server["routes"]]
    handlers: list[dict[str, Any]] = [handler for route in routes for handler in route["handle"]]
    return [handler for handler in handlers if handler["handler"] == "reverse_proxy"]


def test_the_same_state_renders_the_same_bytes() -> None:
    assert json.dumps(render(STATE)) == json.dumps(render(msgspec.structs.replace(STATE)))


def test_every_server_listens_where_it_was_told_and_obtains_nothing_by_itself() -> None:
    listen = {name: server["listen"] for name, server in servers().items()}
    assert listen == {
        "public": ["127.0.0.1:8443"],
        "redirect": ["127.0.0.1:8080"],
        "private": ["127.0.0.1:20009"],
    }
    assert all(server["automatic_https"] == {"disable": True} for server in servers().values())


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert servers(msgspec.structs.replace(STATE, address="::"))["public"]["listen"] == ["[::]:8443"]


def test_the_redirect_names_the_port_only_when_it_is_not_443() -> None:
    assert "https://{http.request.host}:8443{http.request.uri}" in json.dumps(servers()["redirect"])
    standard = msgspec.structs.replace(STATE, https_port=443)
    assert "https://{http.request.host}{http.request.uri}" in json.dumps(servers(standard)["redirect"])


def test_every_hop_inward_is_mutual_tls_with_a_service_that_proves_its_name() -> None:
    found = proxies()
    # web; for each of two applications the question and the pass; to applications the API and what ended
    assert len(found) == 7
    for proxy in found:
        tls = proxy["transport"]["tls"]
        ports = {int(upstream["dial"].rpartition(":")[2]) for upstream in proxy["upstreams"]}
        service = {20001: "web", 20003: "portal", 20005: "shop"}[min(ports)]
        assert tls["server_name"] == service_name(service)
        assert tls["ca"]["pem_files"] == ["/s/instances.pem"]
        assert (tls["client_certificate_file"], tls["client_certificate_key_file"]) == (
            "/s/edge-client.pem",
            "/s/edge-client.key",
        )
        assert "insecure_skip_verify" not in tls


def test_every_way_to_an_application_asks_for_the_session_first_and_hides_the_cookie_then() -> None:
    for route in servers()["public"]["routes"][-2:]:
        handlers = [one for one in route["handle"] if not one.get("response", {}).get("deferred")]
        steps = [handler.get("rewrite", {}).get("uri", handler["handler"]) for handler in handlers]
        assert steps == [
            "subroute",
            "headers",
            "/internal/forward",
            "headers",
            "subroute",
            "request_body",
            "reverse_proxy",
        ]


def test_each_domain_leads_to_its_own_application() -> None:
    hosts = [route["match"][0]["host"] for route in servers()["public"]["routes"][-2:]]
    assert hosts == [["residents.localhost", "owners.localhost"], ["shop.localhost"]]


def test_each_application_has_its_own_limit() -> None:
    limits = [h["max_size"] for r in servers()["public"]["routes"] for h in r["handle"] if "max_size" in h]
    assert limits == [1024 * 1024, 16 * 1024 * 1024, 5]


def test_the_private_listener_demands_a_certificate_of_an_application() -> None:
    (policy,) = servers()["private"]["tls_connection_policies"]
    assert policy["client_authentication"] == {
        "mode": "require_and_verify",
        "ca": {"provider": "file", "pem_files": ["/s/apps.pem"]},
    }
    assert policy["protocol_min"] == "tls1.3"


def test_the_public_side_never_shows_the_private_certificate() -> None:
    asking, policy = servers()["public"]["tls_connection_policies"]
    names = ["residents.localhost", "owners.localhost", "shop.localhost"]
    assert policy["match"]["sni"] == policy["certificate_selection"]["any_tag"] == names
    assert asking["match"]["sni"] == [f"mtls.{name}" for name in names]
    assert asking["certificate_selection"]["any_tag"] == names
    files = render(STATE)["apps"]["tls"]["certificates"]["load_files"]
    assert [file["certificate"] for file in files if file["tags"] == ["private"]] == ["/s/edge-server.pem"]


def test_only_an_alias_for_mutual_tls_asks_for_a_certificate() -> None:
    asking, policy = servers()["public"]["tls_connection_policies"]
    assert asking["client_authentication"] == {"mode": "request"}
    assert "client_authentication" not in policy
    own = msgspec.structs.replace(
        STATE, domains=(*STATE.domains, EdgeDomain("mtls.residents.localhost", "portal", leaf("own")))
    )
    asking, policy = servers(own)["public"]["tls_connection_policies"]
    assert "mtls.residents.localhost" not in asking["match"]["sni"]
    assert "mtls.residents.localhost" in policy["match"]["sni"]


def test_the_hybrid_key_exchange_comes_first_and_nothing_below_tls_1_2() -> None:
    for policy in servers()["public"]["tls_connection_policies"]:
        assert policy["curves"][0] == "x25519mlkem768"
        assert policy["protocol_min"] == "tls1.2"
        assert all(
            "ECDHE" in cipher and ("GCM" in cipher or "POLY1305" in cipher)
            for cipher in policy["cipher_suites"]
        )


def test_the_administration_is_a_unix_socket_and_nothing_is_kept() -> None:
    admin = render(STATE)["admin"]
    assert admin["listen"] == "unix//s/edge.sock|0600"
    assert admin["config"] == {"persist": False}
    assert admin["enforce_origin"] is True


def test_every_listener_that_passes_bodies_on_ends_the_connection_after_a_long_one() -> None:
    for name in ("public", "private"):
        first = servers()[name]["routes"][0]
        assert first["handle"][0]["response"]["set"] == {"Connection": ["close"]}
        assert all({"protocol": "http/2+"} in match["not"] for match in first["match"])


def test_what_is_refused_and_what_an_alias_answers_is_one_route_to_everything_else() -> None:
    exceptions = servers()["public"]["routes"][4]
    assert exceptions["terminal"]
    (inner,) = exceptions["handle"]
    assert [match for route in inner["routes"] for match in route["match"]] == exceptions["match"]
    assert all(route["terminal"] for route in inner["routes"]), "what fits one of them is answered there"


def test_every_listener_bounds_what_a_client_can_make_it_hold() -> None:
    for server in servers().values():
        assert server["max_header_bytes"] == 32 * 1024
        assert server["read_min_rate"] == 500
        times = ("read_header_timeout", "read_idle_timeout", "write_idle_timeout", "idle_timeout")
        assert [server[name] for name in times] == ["10000ms", "15000ms", "30000ms", "120000ms"]


def test_an_edge_in_a_network_of_its_own_takes_the_sockets_that_it_is_handed_and_visits_on_loopback() -> None:
    found = servers(msgspec.structs.replace(STATE, address="0.0.0.0", handed=True))  # noqa: S104
    assert found["public"]["listen"] == ["fd/3", "fdgram/4", "127.0.0.1:8443"]
    assert found["public"]["listen_protocols"] == [["h1", "h2"], ["h3"], ["h1", "h2"]]
    assert found["redirect"]["listen"] == ["fd/5", "127.0.0.1:8080"]
    assert found["private"]["listen"] == servers()["private"]["listen"]
