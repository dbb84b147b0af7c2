"""Every fault of a troth.toml stops the reading, names its line and key, and says what to do."""

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from support.configuration import EXAMPLE, MINIMAL, Load, all_faults, line_of, only_fault, replaced
from troth.core import settings as tables
from troth.core.config import MAX_FILE_BYTES, find_line, load_settings
from troth.core.errors import ConfigError

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


def test_the_example_can_be_copied_elsewhere(tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    assert load_settings(copy / "troth.toml").apps["portal"].folder == copy


def test_the_example_describes_every_key_that_there_is() -> None:
    text = (EXAMPLE / "troth.toml").read_text()
    kinds = [kind for kind in vars(tables).values() if isinstance(kind, type)]
    structs = [kind for kind in kinds if issubclass(kind, msgspec.Struct)]
    keys = {field.encode_name for struct in structs for field in msgspec.structs.fields(struct)} - {"file"}
    assert len(keys) > 30
    assert not {
        key for key in keys if not re.search(rf"^(# )?(\[+(\w+\.)*|branding\.)?{key}\b", text, re.MULTILINE)
    }


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
        ('folder = "."', 'folder = "a\\u0000b"', "apps.portal.folder", "a path in quotes, but it is text"),
        ('folder = "."', f'folder = "{"x" * 256}"', "apps.portal.folder", "but it is a long text"),
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
