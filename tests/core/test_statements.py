"""Every statement of the package, from its syntax tree: what changes something says whether it is idempotent.

Which functions change something is asked of PostgreSQL, after all migrations.
"""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

import troth
from troth.core.db import Database
from troth.core.statements import SIDE_EFFECTS, called, may_change

_PACKAGE = Path(troth.__file__).parent
_VERBS = ("fetch", "fetchrow", "fetchval", "execute")

_HOLDS_STATEMENTS = re.compile(r"\.(?:fetch|fetchrow|fetchval|execute)\(|\"select |\"\"\"\nselect ")

_CONNECTIONS = ("connection", "sentry", "marker", "reader")
"""What a bare connection is called, in a transaction or outside the pool: nothing on it is ever repeated."""

_ASKS_FOR_OTHERS = ("access/sessions.py:_recall",)
"""Functions that repeat a statement of their callers', who are in the same file and read."""


class Asked(msgspec.Struct, frozen=True):
    """One call of the pool. `statement` is empty where it comes in from outside the function."""

    place: str
    line: int
    statement: str
    says: str | None


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        "select * from troth.people($1, $2)",
        "with served as (select 1) select count(*) from served",
        "SELECT coalesce(max(updated_at), now()) FROM troth.document WHERE state <> 'removed'",
        "values ($1,$2)",
    ],
)
def test_what_only_reads_is_seen_to(statement: str) -> None:
    assert not may_change(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into troth.tenant values ($1)",
        "\n    update troth.tenant set name = $1",
        "with gone as (delete from troth.tenant returning id) select * from gone",
        "merge into troth.tenant using x on true when matched then delete",
        "select id from troth.tenant for update skip locked",
        "select id from troth.tenant for key share",
        "select * into troth.copy from troth.tenant",
        "call troth.tidy()",
        "do $$ begin end $$",
        "select 1; drop table troth.tenant",
        "select 'a' /* ' */ , troth.hidden() -- '",
        "select E'\\' '",
        'select troth."Hidden"()',
        "select $tag$ $tag$",
        "truncate troth.tenant",
        "set role troth_owner",
        "notify troth_endings",
        "create table troth.mine (id int)",
    ],
)
def test_what_changes_something_or_cannot_be_read_is_taken_for_a_change(statement: str) -> None:
    assert may_change(statement)


def test_every_function_that_a_statement_calls_is_named() -> None:
    statement = "select troth.Beat ($1), max(x) from troth.people($1) where id in (select f(g(2)))"
    assert called(statement) >= {"beat", "max", "people", "f", "g"}


async def test_what_changes_something_says_whether_it_may_be_repeated(database: Database) -> None:
    effects = frozenset(await database.fetchval(SIDE_EFFECTS))
    silent = [
        f"{asked.place}, line {asked.line}: {asked.statement[:100]}"
        for asked in asked_of_the_pool()
        if asked.says is None and not only_reads(asked.statement, effects)
    ]
    assert silent == [], "Say idempotent=True or =False, see docs/decisions/repeats.md"


def test_no_function_repeats_whatever_it_is_given() -> None:
    blind = [asked.place for asked in asked_of_the_pool() if not asked.statement and asked.says == "True"]
    assert sorted(set(blind)) == sorted(_ASKS_FOR_OTHERS)


async def test_what_is_called_is_there(database: Database) -> None:
    known = set(await database.fetchval("select array(select proname::text from pg_proc)"))
    for asked in asked_of_the_pool():
        ours = {part.split("(")[0] for part in asked.statement.split("troth.")[1:] if "(" in part}
        names = {name for name in ours if name.isidentifier()}
        assert names <= known, asked.place


def test_the_walk_finds_the_calls() -> None:
    asked = asked_of_the_pool()
    assert len(asked) > 120
    assert sum(1 for one in asked if one.says is not None) > 60


def only_reads(statement: str, effects: frozenset[str]) -> bool:
    """A statement that comes in from outside is judged while the program runs, in the same way."""
    return not statement or (not may_change(statement) and effects.isdisjoint(called(statement)))


@functools.cache
def asked_of_the_pool() -> list[Asked]:
    texts = {path: path.read_text() for path in sorted(_PACKAGE.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items() if _HOLDS_STATEMENTS.search(text)}
    own = {path: constants_of(tree) for path, tree in trees.items()}
    everybodys = {name: value for constants in own.values() for name, value in constants.items()}
    return [
        asked
        for path, tree in trees.items()
        for asked in calls(path.relative_to(_PACKAGE).as_posix(), tree, {**everybodys, **own[path]})
    ]


def constants_of(tree: ast.Module) -> dict[str, str]:
    constants: dict[str, str] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                constants[name] = text(value, constants)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                constants[name] = text(value, constants)
            case _:
                pass
    return constants


def calls(file: str, tree: ast.Module, constants: Mapping[str, str]) -> Iterator[Asked]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_asked(node.func):
                says = next((ast.unparse(k.value) for k in node.keywords if k.arg == "idempotent"), None)
                place = f"{file}:{function.name}"
                yield Asked(place, node.lineno, text(node.args[0], constants), says)


def is_asked(verb: ast.Attribute) -> bool:
    if verb.attr not in _VERBS:
        return False
    return ast.unparse(verb.value).rpartition(".")[2].lstrip("_") not in _CONNECTIONS


def text(node: ast.expr, constants: Mapping[str, str]) -> str:
    """What is known of a text without running anything."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(text(value, constants) for value in values)
        case ast.FormattedValue(value=value):
            return text(value, constants)
        case ast.BinOp(left=left, right=right):
            return text(left, constants) + text(right, constants)
        case ast.Name(id=name):
            return constants.get(name, "")
        case _:
            return ""
