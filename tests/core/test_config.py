"""Every fault of a troth.toml stops the reading, names its line and key, and says what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from troth.core.config import MAX_FILE_BYTES, Settings, find_line, load_settings
from troth.core.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples/residents"

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8z"/></svg>'

SCHEMA = '{"type": "object", "properties": {"title": {"type": "string"}, "body": {}}}'

MINIMAL = """\
version = 1

[platform]
name = "Residents"
region = "IE"

[tenants.lindenhof]
name = "Lindenhof"

[[domains]]
name = "residents.localhost"
tenant = "lindenhof"
app = "portal"
branding.name = "Lindenhof"
branding.colour = "#2c6e49"
branding.logo = "logo.svg"

[apps.portal]
target = "portal:app"
folder = "."

[collections.tickets]
schema = "ticket.json"

[roles.resident]
scopes = ["tickets:create", "tickets:read:own:title"]

[clients.ledger]
name = "Ledger"
tenant = "lindenhof"
redirect_uris = ["https://ledger.example/callback"]
scopes = ["tickets:read"]

[[users]]
email = "anna@lindenhof.example"
name = "Anna"
tenant = "lindenhof"
roles = ["resident"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logo.svg").write_text(LOGO)
    (tmp_path / "ticket.json").write_text(SCHEMA)
    return tmp_path


Load = Callable[[str], Settings]


@pytest.fixture
def load(folder: Path) -> Load:
    def load(text: str) -> Settings:
        file = folder / "troth.toml"
        file.write_text(text)
        return load_settings(file)

    return load


def all_faults(load: Load, text: str) -> list[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        load(text)
    return [refused.value, *refused.value.others]


def only_fault(load: Load, text: str) -> ConfigError:
    faults = all_faults(load, text)
    assert len(faults) == 1, [fault.public for fault in faults]
    return faults[0]


def replaced(old: str, new: str) -> str:
    assert MINIMAL.count(old) == 1
    return MINIMAL.replace(old, new)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


# ── what is good ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_example_is_good() -> None:
    settings = load_settings(EXAMPLE / "troth.toml")
    assert [domain.name for domain in settings.domains] == ["residents.localhost", "owners.localhost"]
    assert settings.file == EXAMPLE / "troth.toml"
    assert settings.collections["tickets"].schema == EXAMPLE / "schemas/ticket.json"
    assert {user.tenant for user in settings.users} == {"lindenhof", "seeblick"}


def test_what_is_left_out_has_a_sound_default(load: Load) -> None:
    settings = load(MINIMAL)
    assert (settings.database.members, settings.web.instances, settings.edge.https_port) == (3, 2, None)
    assert settings.apps["portal"].instances == 2


def test_paths_are_read_from_the_folder_of_the_file(load: Load, folder: Path) -> None:
    settings = load(MINIMAL)
    assert settings.apps["portal"].folder == folder
    assert settings.domains[0].branding.logo == folder / "logo.svg"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Residents.LOCALHOST", "residents.localhost"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
    ],
)
def test_a_domain_is_brought_into_one_form(load: Load, written: str, read: str) -> None:
    assert load(MINIMAL.replace("residents.localhost", written)).domains[0].name == read


def test_a_key_of_a_checked_file_can_be_found_again(load: Load, folder: Path) -> None:
    load(MINIMAL)
    assert find_line(folder / "troth.toml", "platform", "region") == line_of(MINIMAL, "region =")
    assert find_line(folder / "troth.toml", "platform", "nothing") == line_of(MINIMAL, "[platform]")
    assert find_line(folder / "nowhere.toml", "platform") is None


# ── the file itself ──────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as refused:
        load_settings(tmp_path / "nowhere.toml")
    assert "--config" in refused.value.hint


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)


def test_a_huge_file_is_refused_unread(load: Load) -> None:
    assert "larger than 1024 KiB" in only_fault(load, "#" * (MAX_FILE_BYTES + 1)).public


def test_bytes_that_are_no_text_are_told_with_their_line(load: Load, folder: Path) -> None:
    (folder / "latin.toml").write_bytes(b'version = 1\n[platform]\nname = "M\xfcller"\n')
    with pytest.raises(ConfigError, match="not UTF-8") as refused:
        load_settings(folder / "latin.toml")
    assert refused.value.line == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version = 1\n[platform\nname = 'x'\n", 2),
        ("version = \n", 1),
        ("version = 1\n\nversion = 1\n", 3),
        ("[a]\nb = 1\n[a]\n", 3),
        ('version = 1\nname = "', 2),
        ("a = [1,\n2", 2),
    ],
)
def test_a_slip_in_the_syntax_is_told_with_its_line(load: Load, text: str, line: int) -> None:
    fault = only_fault(load, text)
    assert fault.public.startswith("This is not TOML")
    assert (fault.line, bool(fault.hint)) == (line, True)


def test_absurd_nesting_is_refused(load: Load) -> None:
    assert "nested" in only_fault(load, "a = " + "[" * 20_000 + "]" * 20_000).public


def test_a_version_of_the_future_is_told_before_all_else(load: Load) -> None:
    fault = only_fault(load, 'version = 2\nanything = "else"\n')
    assert (fault.line, fault.key) == (1, "version")
    assert "version 2" in fault.public


# ── keys and types ───────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_key_is_told_with_the_one_that_was_meant(load: Load) -> None:
    fault = only_fault(load, MINIMAL + "[database]\nmember = 3\n")
    assert fault.key == "database.member"
    assert fault.line == len(MINIMAL.splitlines()) + 2
    assert "Did you mean “members”?" in fault.hint


def test_an_unknown_table_is_told(load: Load) -> None:
    fault = only_fault(load, MINIMAL + "[databse]\nmembers = 3\n")
    assert (fault.key, fault.hint) == ("databse", "Did you mean “database”?")


def test_a_key_of_the_settings_that_is_no_key_of_the_file_is_unknown(load: Load) -> None:
    assert only_fault(load, 'file = "/etc/passwd"\n' + MINIMAL).key == "file"


def test_a_missing_key_is_told_with_the_line_of_its_table(load: Load) -> None:
    text = replaced('app = "portal"\n', "")
    fault = only_fault(load, text)
    assert (fault.key, fault.line) == ("domains[0].app", line_of(text, "[[domains]]"))
    assert fault.hint == "Add it: app = …."


def test_a_missing_table_is_told(load: Load) -> None:
    fault = only_fault(load, replaced('[platform]\nname = "Residents"\nregion = "IE"\n', ""))
    assert (fault.key, fault.hint) == ("platform", "Add it: [platform].")


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('name = "Residents"', "name = 3", "platform.name", "text in quotes, but it is 3"),
        ("version = 1", 'version = "1"', "version", "a whole number, but it is text"),
        ("version = 1", "version = true", "version", "a whole number, but it is true"),
        ('target = "portal:app"', "target = []", "apps.portal.target", "text in quotes, but it is a list"),
        ('folder = "."', "folder = 1", "apps.portal.folder", "a path in quotes, but it is 1"),
        ('folder = "."', 'folder = "."\ninstances = 0', "apps.portal.instances", "from 1 to 16, but it is 0"),
        ('folder = "."', 'folder = "."\ninstances = 2.0', "apps.portal.instances", "but it is 2.0"),
        ('roles = ["resident"]', 'roles = "resident"', "users[0].roles", "a list, but it is text"),
        ('roles = ["resident"]', 'roles = ["resident", 7]', "users[0].roles[1]", "text in quotes, but it is"),
        ('branding.logo = "logo.svg"', "branding.logo = 1979-05-27", "domains[0].branding.logo", "a date"),
        ('[tenants.lindenhof]\nname = "Lindenhof"', "tenants.lindenhof = 1", "tenants.lindenhof", "a table"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_told(load: Load, old: str, new: str, key: str, said: str) -> None:
    text = replaced(old, new)
    if new.startswith("tenants"):
        text = new + "\n" + MINIMAL.replace(old, "")
    fault = only_fault(load, text)
    assert fault.key == key
    assert said in fault.public
    assert fault.line == line_of(text, new.splitlines()[-1])


@pytest.mark.parametrize(
    ("table", "key", "bound"),
    [
        ("database", "members", "from 1 to 5"),
        ("web", "instances", "from 1 to 16"),
        ("certificates", "lifetime_minutes", "from 1 to 43200"),
        ("edge", "https_port", "from 1 to 65535"),
        ("edge", "http_port", "from 1 to 65535"),
    ],
)
def test_a_number_out_of_range_is_told_with_the_range(load: Load, table: str, key: str, bound: str) -> None:
    for value in (0, -1, 99_999):
        fault = only_fault(load, MINIMAL + f"[{table}]\n{key} = {value}\n")
        assert (fault.key, bound in fault.public) == (f"{table}.{key}", True)


def test_a_text_in_the_wrong_place_is_not_repeated(load: Load) -> None:
    """It could be a password that slipped a line."""
    assert "hunter2" not in only_fault(load, MINIMAL + '[database]\nmembers = "hunter2"\n').public


def test_all_faults_of_one_stage_are_told_in_the_order_of_the_file(load: Load) -> None:
    text = MINIMAL.replace('name = "Residents"', "nam = 1").replace('app = "portal"', "app = 2")
    faults = all_faults(load, text + "[edge]\nhttps_port = 70000\n")
    assert [fault.key for fault in faults] == [
        "platform.name",
        "platform.nam",
        "domains[0].app",
        "edge.https_port",
    ]
    assert all(fault.line and fault.hint and fault.file for fault in faults)
    assert faults[1].place.endswith("troth.toml:4: platform.nam")


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


def test_the_example_can_be_copied_elsewhere(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    assert load_settings(copy / "troth.toml").apps["portal"].folder == copy
