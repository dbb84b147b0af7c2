"""The direction of imports, read from the syntax tree of src/troth.

`core <- {hosting, data, access, assurance} <- wiring <- {web, platform, cli}`, rooms never one another; and
the modules that only a few files may use, so that cryptography and the HTTP server stay where they are
reviewed.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "troth"

ROOMS = frozenset({"hosting", "data", "access", "assurance"})
MAY_IMPORT = {
    "core": frozenset({"core"}),
    **{room: frozenset({"core", room}) for room in ROOMS},
    "wiring": ROOMS | {"core", "wiring"},
    "platform": ROOMS | {"core", "wiring", "platform"},
    "web": ROOMS | {"core", "wiring", "web"},
    "cli": ROOMS | {"core", "wiring", "platform", "web", "cli"},
}

ONLY_IN = {
    "joserfc": (
        "core/jose.py",
        "core/jose_es256.py",
        "core/jose_clients.py",
        "core/jose_proofs.py",
    ),
    "cryptography": (
        "core/ca.py",
        "core/jose.py",
        "core/jose_es256.py",
        "core/certificate_facts.py",
        "core/client_certificates.py",
        "core/secret.py",
        "data/archive.py",
        "data/sealing.py",
        "data/keys.py",
        "access/accounts/passwords.py",
        "access/accounts/recipes.py",
        "access/factors/totp.py",
    ),
    "webauthn": ("access/factors/passkeys.py",),
    "segno": ("web/",),
    "bcrypt": ("access/accounts/recipes.py",),
    "zxcvbn": ("access/accounts/policy.py",),
    "aiosmtplib": ("access/accounts/mail.py",),
    "starlette": ("web/",),
    "granian": ("hosting/runner.py",),
    "obstore": ("data/stores/s3.py",),
    "asyncssh": ("data/stores/sftp.py",),
    "jinja2": ("web/",),
    "typer": ("cli.py", "cli/"),
}
"""A module of someone else's, and the files or folders (ending in a slash) that may import it."""

_FIRST = ("hosting/init.py", "hosting/offspring.py")


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported; `package` is where relative imports start from.

    `from troth import web` counts as `troth.web`, and so does `import_module("troth.web")`: an import that is
    written another way is still an import.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                start = package[: len(package) - level + 1] if level else ()
                base = ".".join((*start, *([module] if module else [])))
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name
            case _:
                pass


def faults_in(source: str, place: str) -> Iterator[str]:
    """What is wrong with the imports of one file; `place` is its path below src/troth."""
    path = Path(place)
    room = path.parts[0].removesuffix(".py")
    for line, name in imported(ast.parse(source), ("troth", *path.parts[:-1])):
        top, _, rest = name.partition(".")
        if fault := upward(room, top, rest) or misplaced(place, top) or heavy(place, top, name):
            yield f"src/troth/{place}:{line} imports {name}: {fault}"


def upward(room: str, top: str, rest: str) -> str | None:
    if top != "troth" or not rest or room == "__init__":
        return None
    if room not in MAY_IMPORT:
        return f"nobody has said what {room} may import"
    target = rest.split(".")[0]
    if target == "VERSION" or target in MAY_IMPORT[room]:
        return None
    if room in ROOMS and target in ROOMS:
        return "rooms do not know one another; declare a Protocol and let wiring supply it"
    return f"{room} may import {', '.join(sorted(MAY_IMPORT[room]))} only"


def misplaced(place: str, top: str) -> str | None:
    homes = ONLY_IN.get(top)
    if homes is None or any(
        place == home or (home.endswith("/") and place.startswith(home)) for home in homes
    ):
        return None
    return f"{top} is used in {', '.join(homes)} only"


def heavy(place: str, top: str, name: str) -> str | None:
    """PID 1 has to start in milliseconds and survive anything: nothing but the standard library."""
    own = name in ("offspring", "troth.hosting.offspring")  # its other half; the latter for the type checker
    if place in _FIRST and top not in sys.stdlib_module_names and not own:
        return "the first process of the platform imports the standard library only"
    return None


def test_imports_point_one_way() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 20, f"no code under {SOURCE}?"
    faults = [
        fault for file in files for fault in faults_in(file.read_text(), file.relative_to(SOURCE).as_posix())
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_every_room_has_its_place_in_the_house() -> None:
    unknown = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("**/*.py")))
    } - {*MAY_IMPORT, "__init__", "__main__"}
    assert not unknown, f"say in {Path(__file__).name} what {', '.join(sorted(unknown))} may import"


@pytest.mark.parametrize(
    ("place", "source", "reason"),
    [
        ("core/a.py", "from troth.data.keys import KeyRing", "core may import core only"),
        ("core/a.py", "from ..access import sessions", "core may import core only"),
        ("core/a.py", "from .. import web", "core may import core only"),
        ("access/a.py", "import troth.data.keys", "rooms do not know one another"),
        ("access/a.py", "from troth import hosting", "rooms do not know one another"),
        ("data/a.py", "if TYPE_CHECKING:\n    from troth.web import app", "data may import"),
        ("data/a.py", "def late():\n    from troth.wiring import Services", "data may import"),
        ("hosting/a.py", "importlib.import_module('troth.web.app')", "hosting may import"),
        ("wiring/a.py", "from troth.web.app import build", "wiring may import"),
        ("access/a.py", "from starlette.requests import Request", "starlette is used in"),
        ("hosting/health.py", "import granian", "granian is used in"),
        ("access/tokens.py", "from joserfc import jwt", "joserfc is used in"),
        ("web/api.py", "from cryptography.hazmat.primitives import hashes", "cryptography is used in"),
        ("hosting/init.py", "import msgspec", "standard library only"),
        ("hosting/init.py", "from troth.hosting import child", "standard library only"),
        ("hosting/offspring.py", "import msgspec", "standard library only"),
    ],
)
def test_a_planted_bad_import_is_found(place: str, source: str, reason: str) -> None:
    faults = list(faults_in(source, place))
    assert len(faults) == 1
    assert reason in faults[0]
    assert f"src/troth/{place}" in faults[0]


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("core/db.py", "import asyncpg\nfrom troth.core.errors import Unavailable"),
        ("access/tokens.py", "from .sessions import Session\nfrom troth.core import jose"),
        ("wiring/__init__.py", "from troth.data.keys import KeyRing\nfrom troth.access import sessions"),
        ("web/app.py", "from starlette.applications import Starlette\nfrom troth.wiring import Services"),
        ("cli.py", "from troth.web import app\nimport typer"),
        ("hosting/runner.py", "from granian.server.embed import Server"),
        ("cli.py", "from troth import VERSION"),
    ],
)
def test_a_good_import_passes(place: str, source: str) -> None:
    assert list(faults_in(source, place)) == []
