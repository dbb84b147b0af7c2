"""What a troth.toml says has to fit together: names, ports, addresses and the files it names."""

from pathlib import Path

import pytest

from support.configuration import MINIMAL, Load, all_faults, line_of, only_fault, replaced

# ── names that must match ────────────────────────────────────────────────────────────────────────────────


def test_a_domain_that_is_there_twice_is_told_with_both_lines(load: Load) -> None:
    second = MINIMAL[MINIMAL.index("[[domains]]") : MINIMAL.index("[apps")].replace("residents", "RESIDENTS")
    text = MINIMAL + second
    fault = only_fault(load, text)
    assert fault.line == line_of(text, "RESIDENTS.localhost")
    assert f"line {line_of(text, 'residents.localhost')}" in fault.hint


@pytest.mark.parametrize(
    "name",
    [
        "https://residents.localhost",
        "residents.localhost:8443",
        "residents.localhost/",
        "*.localhost",
        "residents",
        "residents.localhost.",
        "residents..localhost",
        "-residents.localhost",
        "resi_dents.localhost",
        "127.0.0.1",
        "0x7f.1",
        "a.0x1",
        "[::1]",
        "a b.localhost",
        "a@b.localhost",
        "a\\u202e.localhost",
        "",
        "x" * 64 + ".localhost",
        "probes.troth.internal",
    ],
)
def test_a_domain_that_is_no_host_name_is_refused(load: Load, name: str) -> None:
    text = replaced("residents.localhost", name)
    fault = only_fault(load, text)
    assert (fault.key, fault.line) == ("domains[0].name", line_of(text, 'tenant = "lindenhof"') - 1)


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ('app = "portal"', 'app = "portel"', "domains[0].app", "Did you mean “portal”?"),
        ('app = "portal"', 'app = "x"', "domains[0].app", "Known here: portal."),
        ('roles = ["resident"]', 'roles = ["residents"]', "users[0].roles[0]", "Did you mean “resident”?"),
        ('"tickets:create"', '"ticket:create"', "roles.resident.scopes[0]", "Did you mean “tickets”?"),
        ('["tickets:read"]', '["tickts:read"]', "clients.ledger.scopes[0]", "Did you mean “tickets”?"),
        ("own:title", "own:titel", "roles.resident.scopes[1]", "Did you mean “title”?"),
    ],
)
def test_a_name_that_is_not_defined_is_told(load: Load, old: str, new: str, key: str, hint: str) -> None:
    fault = only_fault(load, replaced(old, new))
    assert fault.key == key
    assert hint in fault.hint


def test_a_tenant_that_is_not_defined_is_told_wherever_it_is_named(load: Load) -> None:
    text = MINIMAL.replace("[tenants.lindenhof]", "[tenants.lindenhoff]")
    faults = all_faults(load, text)
    assert [fault.key for fault in faults] == [
        "domains[0].tenant",
        "clients.ledger.tenant",
        "users[0].tenant",
    ]
    assert {fault.hint for fault in faults} == {"Did you mean “lindenhoff”?"}


@pytest.mark.parametrize(
    "scope", ["tickets", "tickets:write", "tickets:read:all", "Tickets:read", "openid", ""]
)
def test_a_scope_outside_the_grammar_is_told(load: Load, scope: str) -> None:
    fault = only_fault(load, replaced('"tickets:create"', f'"{scope}"'))
    assert fault.key == "roles.resident.scopes[0]"
    assert "no scope" in fault.public


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("[apps.portal]", "[apps.Portal]", "apps.Portal"),
        ("[roles.resident]", '[roles."a b"]', "roles.a b"),
        ("[clients.ledger]", "[clients.session]", "clients.session"),
        ("[clients.ledger]", '[clients."x\\ny"]', "clients.x\ny"),
        ("[collections.tickets]", '[collections."troth_tickets"]', "collections.troth_tickets"),
        ("[collections.tickets]", '[collections."../tickets"]', "collections.../tickets"),
    ],
)
def test_a_short_name_that_cannot_stand_in_an_address_is_refused(
    load: Load, old: str, new: str, key: str
) -> None:
    faults = all_faults(load, replaced(old, new))
    assert key in [fault.key for fault in faults]


def test_names_that_the_platform_uses_itself_are_refused(load: Load) -> None:
    faults = all_faults(load, MINIMAL.replace("lindenhof]", "troth-probes]"))
    assert "the platform's own" in faults[0].public


@pytest.mark.parametrize("name", ["", "   ", "a\\nb", "x" * 121, "\\u0000"])
def test_a_name_that_cannot_be_shown_is_refused(load: Load, name: str) -> None:
    assert only_fault(load, replaced('"Residents"', f'"{name}"')).key == "platform.name"


def test_a_platform_without_domains_is_refused(load: Load) -> None:
    start, end = MINIMAL.index("[[domains]]"), MINIMAL.index("[apps.portal]")
    text = "domains = []\n" + MINIMAL[:start] + MINIMAL[end:]
    assert only_fault(load, text).key == "domains"


# ── ports, applications, users, clients ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("edge", "key"),
    [
        ("https_port = 8443\nhttp_port = 8443", "edge.http_port"),
        ("http_port = 443", "edge.http_port"),
        ("https_port = 8080", "edge.https_port"),
        ('address = "localhost"', "edge.address"),
        ('address = "0.0.0.0:80"', "edge.address"),
    ],
)
def test_an_edge_that_cannot_listen_is_refused(load: Load, edge: str, key: str) -> None:
    assert only_fault(load, MINIMAL + "[edge]\n" + edge + "\n").key == key


@pytest.mark.parametrize(
    "target", ["portal", "portal:", ":app", "portal.app", "portal:app()", "a b:c", "os:a.b"]
)
def test_an_application_that_names_no_callable_is_refused(load: Load, target: str) -> None:
    assert only_fault(load, replaced("portal:app", target)).key == "apps.portal.target"


def test_an_application_without_a_folder_is_refused(load: Load) -> None:
    fault = only_fault(load, replaced('folder = "."', 'folder = "missing"'))
    assert (fault.key, "missing" in fault.hint) == ("apps.portal.folder", True)


@pytest.mark.parametrize("prefix", ["assets/", "", "/a/../b/", "//evil.example/", "/a?b", "/%2e%2e/", "/a b"])
def test_a_public_path_that_could_mean_another_is_refused(load: Load, prefix: str) -> None:
    fault = only_fault(load, replaced('folder = "."', f'folder = "."\npublic = ["/ok/", "{prefix}"]'))
    assert fault.key == "apps.portal.public[1]"


@pytest.mark.parametrize(
    "uri",
    ["https://a.example/cb", "https://a.example:8443/cb?x=1", "http://127.0.0.1/cb", "http://[::1]:7000/cb"],
)
def test_a_redirect_to_https_or_to_the_loopback_address_is_accepted(load: Load, uri: str) -> None:
    assert load(replaced("https://ledger.example/callback", uri)).clients["ledger"].redirect_uris == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "http://ledger.example/callback",
        "http://localhost/callback",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.2/cb",
        "https://a.example/cb#fragment",
        "https://a.example/cb#",
        "https://user@a.example/cb",
        "https:///cb",
        "https://*.example/cb",
        "https://a.example:99999/cb",
        "https://[::1/cb",
        "javascript:alert(1)",
        "com.example.app:/cb",
        "/cb",
        "",
        "https://a.example/c b",
        "https://ä.example/cb",
        "https://a.example\\\\@evil.example/",
    ],
)
def test_a_redirect_that_could_lose_the_code_is_refused(load: Load, uri: str) -> None:
    fault = only_fault(load, replaced("https://ledger.example/callback", uri))
    assert fault.key == "clients.ledger.redirect_uris[0]"


def test_a_client_without_redirect_is_refused(load: Load) -> None:
    fault = only_fault(load, replaced('["https://ledger.example/callback"]', "[]"))
    assert fault.key == "clients.ledger.redirect_uris"


@pytest.mark.parametrize("email", ["anna", "anna@", "@x", "a b@x.example", "a@b@c", "a,b@x.example", ""])
def test_a_user_without_an_address_is_refused(load: Load, email: str) -> None:
    assert only_fault(load, replaced("anna@lindenhof.example", email)).key == "users[0].email"


def test_a_user_that_is_there_twice_is_told_with_both_lines(load: Load) -> None:
    again = MINIMAL[MINIMAL.index("[[users]]") :].replace("anna@", "ANNA@")
    fault = only_fault(load, MINIMAL + again)
    assert fault.key == "users[1].email"
    assert f"Line {line_of(MINIMAL, 'anna@')}" in fault.hint


# ── files that are named ─────────────────────────────────────────────────────────────────────────────────


def test_a_missing_schema_is_told_with_the_line_that_names_it(load: Load, folder: Path) -> None:
    (folder / "ticket.json").unlink()
    fault = only_fault(load, MINIMAL)
    assert (fault.key, fault.line) == ("collections.tickets.schema", line_of(MINIMAL, "ticket.json"))
    assert str(folder / "ticket.json") in fault.hint


def test_a_schema_that_is_no_json_is_told_with_its_own_line(load: Load, folder: Path) -> None:
    (folder / "ticket.json").write_text('{\n  "type": "object",\n  "properties": {,\n}\n')
    fault = only_fault(load, MINIMAL)
    assert (fault.file, fault.line) == (folder / "ticket.json", 3)
    assert fault.key == "collections.tickets.schema"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('{"type": "object", "properties": {"a": {"type": "strnig"}}}', "/properties/a/type"),
        ('{"type": "object", "properties": {"a": {"minLength": -1}}}', "/properties/a/minLength"),
        ('{"type": "object", "properties": {"a": {"pattern": "("}}}', "/properties/a/pattern"),
        ('{"type": "object", "properties": {"a": {"$ref": "https://evil.example/s"}}}', "evil.example"),
        ('{"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}', "passwd"),
        ('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "another dialect"),
        ('{"$schema": 7, "type": "object"}', "another dialect"),
        ('{"type": "array"}', "does not describe an object"),
        ("[]", "no JSON object"),
        ("[" * 5_000, "not JSON"),
        ("\xff", "not JSON"),
        ('{"type": "object", "description": "' + "x" * 300_000 + '"}', "larger than"),
    ],
)
def test_a_schema_that_is_no_schema_is_refused(load: Load, folder: Path, schema: str, said: str) -> None:
    (folder / "ticket.json").write_bytes(schema.encode("latin-1"))
    fault = only_fault(load, MINIMAL)
    assert fault.file == folder / "ticket.json"
    assert said in fault.public


@pytest.mark.parametrize("colour", ["blue", "#12345", "#1234567", "2c6e49", "#2c6e4g", "", "#fff", "red;}"])
def test_a_colour_that_is_no_rrggbb_is_refused(load: Load, colour: str) -> None:
    fault = only_fault(load, replaced("#2c6e49", colour))
    assert (fault.key, fault.public) == ("domains[0].branding.colour", "This is no colour.")


def test_a_colour_too_bright_for_white_text_is_told_with_a_darker_one(load: Load) -> None:
    fault = only_fault(load, replaced("#2c6e49", "#777777"))
    assert "4.47:1" in fault.public
    darker = fault.hint.removesuffix(".").rsplit(" ", 1)[-1]
    assert darker == "#767676"
    assert load(replaced("#2c6e49", darker)).domains[0].branding.colour == "#767676"


def test_a_missing_logo_is_told(load: Load, folder: Path) -> None:
    (folder / "logo.svg").unlink()
    fault = only_fault(load, MINIMAL)
    assert (fault.key, "No such file" in fault.public) == ("domains[0].branding.logo", True)
