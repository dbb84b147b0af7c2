"""Bringing the running database in line with troth.toml, at the start and when the file is read again."""

import asyncio
from collections.abc import Callable

from troth.access.accounts.passwords import Passwords
from troth.access.accounts.people import Accounts
from troth.core.config import Settings
from troth.core.db import Database, DatabaseTarget
from troth.core.state import State
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer
from troth.data.roles import APP, OWNER
from troth.wiring.client_secrets import declare_client_secrets
from troth.wiring.declaration import Declared, declare, declare_users
from troth.wiring.drilling import mend


async def declare_all(settings: Settings, state: State, target: Callable[[str], DatabaseTarget]) -> None:
    """Tenants, domains, roles, clients and their secrets, users. May be repeated; raises TrothError."""
    owner = await Database.open(target(OWNER), max_size=2)
    app = await Database.open(target(APP), max_size=4)
    passwords = Passwords()
    try:
        await mend(owner)
        tenants = await declare(settings, owner)
        await declare_client_secrets(settings, state, tenants, owner)
        ring = KeyRing(app, open_epochs(state.root_key))
        tools = Declared(owner, Accounts(owner, Sealer(ring)), passwords)
        await declare_users(settings, state, tenants, tools)
    finally:
        passwords.close()
        await asyncio.gather(owner.close(), app.close())


async def mend_all(target: Callable[[str], DatabaseTarget]) -> None:
    """What a drill that was cut short has left broken is put right. Raises TrothError."""
    owner = await Database.open(target(OWNER), max_size=1)
    try:
        await mend(owner)
    finally:
        await owner.close()
