"""Where the operator's requests are carried out: databases and tools at hand, arguments read strictly."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin
from uuid import UUID

import msgspec

from troth.access.accounts.people import Accounts
from troth.access.tenants import DomainDirectory
from troth.core.clock import SystemClock
from troth.core.config import Settings
from troth.core.db import Database
from troth.core.errors import UsageError
from troth.core.leader import DatabaseTarget
from troth.core.state import State
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer
from troth.data.roles import APP, AUDITOR, OWNER
from troth.hosting.plan import Action

Answer = dict[str, object]
A = TypeVar("A", bound=msgspec.Struct)


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb works with. `owner` may change what no web instance may; `app` is what they are; `auditor`
    reads across tenants what was granted to it."""

    settings: Settings
    state: State
    owner: Database
    app: Database
    auditor: Database
    sealer: Sealer
    accounts: Accounts
    directory: DomainDirectory
    clock: SystemClock


class Verb(msgspec.Struct, Generic[A], frozen=True):
    """One thing that can be asked: its name `noun.verb`, the shape of its arguments, and what does it."""

    name: str
    arguments: type[A]
    work: Callable[[Tools, A], Awaitable[Answer]]


class Office:
    """Opens the databases for each request: requests are rare, and idle connections are not for free."""

    def __init__(
        self, settings: Settings, state: State, target: Callable[[str], DatabaseTarget], https_port: int
    ) -> None:
        self._settings = settings
        self._state = state
        self._target = target
        self._https_port = https_port

    def follow(self, settings: Settings) -> None:
        """Settings that were read again."""
        self._settings = settings

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Tools]:
        """The tools, put away at the end of the block."""
        async with AsyncExitStack() as stack:

            async def enter(role: str) -> Database:
                database = await Database.open(self._target(role), max_size=2)
                stack.push_async_callback(database.close)
                return database

            owner, app, auditor = await enter(OWNER), await enter(APP), await enter(AUDITOR)
            sealer, clock = Sealer(KeyRing(app, open_epochs(self._state.root_key))), SystemClock()
            yield Tools(
                settings=self._settings,
                state=self._state,
                owner=owner,
                app=app,
                auditor=auditor,
                sealer=sealer,
                accounts=Accounts(owner, sealer),
                directory=DomainDirectory(owner, clock, port=self._https_port),
                clock=clock,
            )


def action_of(office: Office, verb: Verb[Any]) -> Action:
    """The verb for the keeper's plan. Raises UsageError for arguments of another shape."""

    async def act(asked: Answer) -> Answer:
        arguments = read_arguments(asked, verb.arguments)
        async with office.open() as opened:
            return await verb.work(opened, arguments)

    return act


def read_arguments(asked: Answer, kind: type[A]) -> A:
    """Raises UsageError naming the argument that is missing, unknown or of another type."""
    unknown = asked.keys() - {field.encode_name for field in msgspec.structs.fields(kind)}
    if unknown:
        raise UsageError(f"There is no argument {sorted(unknown)[0][:60]!r}.")
    try:
        return msgspec.convert(asked, kind)
    except msgspec.ValidationError as error:
        raise refusal(error, kind) from None


def refusal(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> UsageError:
    """Which member of `kind` cannot be as it is, why, and what it could be where only few words can."""
    said, _, place = str(error).partition(" - at `$.")
    member = place.rstrip("`")
    type_ = next((one.type for one in msgspec.structs.fields(kind) if one.encode_name == member), None)
    words = [str(one) for one in get_args(type_) if one] if get_origin(type_) is Literal else []
    return UsageError(
        f"{member or 'This'} cannot be so: {said[:1].lower()}{said[1:].replace('`', '')}.",
        hint=f"It can be: {', '.join(words)}." if words else "",
    )


async def tenant_of(tools: Tools, slug: str) -> UUID:
    """The id of a tenant by its short name. Raises UsageError when there is none."""
    found = await tools.owner.fetchval("select id from troth.tenant where slug = $1", slug)
    if found is None:
        raise UsageError(f"There is no tenant {slug[:60]!r}.")
    return found
