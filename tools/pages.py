"""Writes the parts of the documentation that are read from the source: `python tools/pages.py [--check]`.

docs/map.md       every file of src/troth with the first sentence of its docstring
docs/configuration.md   every key of examples/residents/troth.toml with its comment
docs/decisions/README.md   every decision with its title

Each part stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "troth"
EXAMPLE = ROOT / "examples" / "residents" / "troth.toml"
ROOMS = ("core", "hosting", "data", "access", "assurance", "wiring", "web", "cli")

_TABLE = re.compile(r"^(?:# )?\[{1,2}([\w.]+)\]{1,2}$")
_KEY = re.compile(r"^(?:# )?([a-z_][\w.]*) = (.*)$")
_LEFT_OUT = re.compile(r"\s*Left out: ([^.]*(?:\.[^.\s][^.]*)*)\.$")
_NAMED = re.compile(r"^(tenants|apps|collections|roles|clients)\.\w+")
_LISTED = ("domains", "users")


def map_of_files() -> str:
    """Every file of the source, room by room."""
    parts = [f"### {name}\n\n{_list_room(SOURCE / name)}" for name in ROOMS]
    top = sorted(SOURCE.glob("*.py"))
    return "\n\n".join([*parts, "### at the top\n\n" + "\n".join(_describe(path) for path in top)])


def keys_of_example() -> str:
    """Every key of the documented example, once."""
    rows = ["| key | meaning | left out | in the example |", "|---|---|---|---|"]
    seen: set[str] = set()
    for key, meaning, left_out, value in _read_example(EXAMPLE.read_text()):
        if key not in seen and meaning:
            rows.append(f"| `{key}` | {meaning} | {left_out} | `{value}` |")
        seen.add(key)
    return "\n".join(rows)


def list_of_decisions() -> str:
    """Every decision by its own title."""
    files = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "README.md")
    return "\n".join(f"- [{_title(path)}]({path.name})" for path in files)


PARTS = {
    ROOT / "docs" / "map.md": ("files", map_of_files),
    ROOT / "docs" / "configuration.md": ("keys", keys_of_example),
    ROOT / "docs" / "decisions" / "README.md": ("decisions", list_of_decisions),
}


def renewed(page: Path) -> str:
    """The page with its part made anew."""
    name, make = PARTS[page]
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text()
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{make()}\n{end}{tail}"


def main(arguments: list[str]) -> int:
    """1 when asked to check and a page is not as it would be made."""
    stale = [page for page in PARTS if page.read_text() != renewed(page)]
    if arguments == ["--check"]:
        print("\n".join(f"{page.relative_to(ROOT)} is stale; run python tools/pages.py" for page in stale))
        return 1 if stale else 0
    for page in stale:
        page.write_text(renewed(page))
    return 0


def _title(page: Path) -> str:
    return page.read_text().split("\n", 1)[0].removeprefix("# ")


def _list_room(folder: Path) -> str:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".sql", ".html")]
    return "\n".join(_describe(path) for path in files if path.stat().st_size)


def _describe(path: Path) -> str:
    name = path.relative_to(SOURCE)
    words = _first_sentence(path)
    return f"- [`{name}`](../src/troth/{name})" + (f": {words}" if words else "")


def _first_sentence(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".py":
        words = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    elif path.suffix == ".sql":
        words = text.split("\n\n")[0].replace("-- ", "").split(":\n")[0].split("\n--\n")[0]
    else:
        return ""
    return re.split(r"(?<=[.?]) ", " ".join(words.split()))[0].replace("|", "\\|")


def _read_example(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Key with its table, meaning, what holds when it is left out, and the example's value.

    A key right below another shares its comment; one without any takes that of its section.
    """
    table, comment, section, last = "", "", "", ""
    for line in text.splitlines():
        header, key = _TABLE.match(line), _KEY.match(line)
        if header:
            table, comment, last = _generic(header[1]), "", ""
        elif key:
            last = comment or last or section
            meaning, left_out = _split(last)
            value = key[2].strip()
            yield f"{table}.{key[1]}".lstrip("."), meaning, left_out, "[…]" if value == "[" else value
            comment = ""
        elif line.startswith("# ") and "──" not in line:
            comment += f" {line[2:]}"
        elif not line:
            section, comment, last = comment or section, "", ""


def _generic(table: str) -> str:
    if table in _LISTED:
        return f"{table}[]"
    named = _NAMED.match(table)
    return table.replace(named[0], f"{named[1]}.NAME") if named else table


def _split(comment: str) -> tuple[str, str]:
    words = comment.strip().replace("|", "\\|")
    found = _LEFT_OUT.search(words)
    return (words[: found.start()], found[1]) if found else (words, "needed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
