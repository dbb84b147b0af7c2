"""Lines of keys, for each way in which TOML lets a key be written."""

import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from troth.core.toml_lines import KeyPath, find_lines, nearest_line, write_path

DOCUMENT = '''\
# a comment with [a.table] in it
version = 1 # and "another"
"quoted key" = 'literal \\'

[platform]
name = "with # no comment, [no] {table}"
dotted . inner."deep.er" = true

[[domains]]
name = "a"
branding.name = "A"
[domains.extra]
key = 1979-05-27T07:32:00Z

[[domains]]
name = "b"
scopes = [ # comment ]
  "one",

  "two", { x = 1, y = [10, 20] },
]
[domains.extra]
[[domains.list]]
[[domains.list]]
last = """
[not.a.table]
key = "no key \\"""" # six quotes
text = \'\'\'it''s
three\'\'\'\'\'
[inline]
table = { first = 1, second.third = { fourth = 4 } }
empty = []
nested = [[1, 2], [3]]
'''

LINES: dict[KeyPath, int] = {
    ("version",): 2,
    ("quoted key",): 3,
    ("platform",): 5,
    ("platform", "name"): 6,
    ("platform", "dotted", "inner", "deep.er"): 7,
    ("domains",): 9,
    ("domains", 0): 9,
    ("domains", 0, "name"): 10,
    ("domains", 0, "branding", "name"): 11,
    ("domains", 0, "extra"): 12,
    ("domains", 0, "extra", "key"): 13,
    ("domains", 1): 15,
    ("domains", 1, "name"): 16,
    ("domains", 1, "scopes"): 17,
    ("domains", 1, "scopes", 0): 18,
    ("domains", 1, "scopes", 1): 20,
    ("domains", 1, "scopes", 2, "x"): 20,
    ("domains", 1, "scopes", 2, "y", 1): 20,
    ("domains", 1, "extra"): 22,
    ("domains", 1, "list", 0): 23,
    ("domains", 1, "list", 1): 24,
    ("domains", 1, "list", 1, "last"): 25,
    ("domains", 1, "list", 1, "text"): 28,
    ("inline",): 30,
    ("inline", "table", "first"): 31,
    ("inline", "table", "second", "third", "fourth"): 31,
    ("inline", "empty"): 32,
    ("inline", "nested", 1, 0): 33,
}


def paths_of(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = {path} if path else set()
    members: dict[Any, Any] = {}
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value)
    if isinstance(value, list):
        members = dict(enumerate(cast("list[Any]", value)))
    for part, member in members.items():
        found |= paths_of(member, (*path, part))
    return found


@pytest.mark.parametrize(("path", "line"), LINES.items(), ids=map(write_path, LINES))
def test_a_key_is_found_on_its_line(path: KeyPath, line: int) -> None:
    assert find_lines(DOCUMENT)[path] == line
    assert find_lines(DOCUMENT.replace("\n", "\r\n"))[path] == line


def test_every_key_that_the_parser_sees_has_a_line() -> None:
    assert set(find_lines(DOCUMENT)) == paths_of(tomllib.loads(DOCUMENT))


def test_every_key_of_the_example_has_a_line() -> None:
    text = (Path(__file__).parents[2] / "examples/residents/troth.toml").read_text()
    lines = find_lines(text)
    assert set(lines) == paths_of(tomllib.loads(text))
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert path[-1] in text.splitlines()[line - 1]


@pytest.mark.parametrize(
    "text", ["", "\n", "# only", "a=1", "a=[1,\n2]", "[t]", "a.b.c = ''", 'a = ""\nb = 2']
)
def test_small_documents_end_where_they_end(text: str) -> None:
    assert set(find_lines(text)) == paths_of(tomllib.loads(text))


def test_a_missing_key_is_told_by_the_line_of_its_table() -> None:
    lines = find_lines(DOCUMENT)
    assert nearest_line(lines, ("domains", 1, "tenant")) == 15
    assert nearest_line(lines, ("nowhere",)) is None


def test_a_path_is_written_as_people_write_it() -> None:
    assert write_path(("domains", 0, "branding", "name")) == "domains[0].branding.name"
