"""A store on the disk that `troth backup restore` reads, and what it put in place."""

import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from support.backup_site import Site
from support.platform import Done, troth
from troth.core.secret import Secret, write_secret
from troth.core.state import State
from troth.data.recovery import fingerprint
from troth.data.stores.folder import FolderStore


@asynccontextmanager
async def backed_up_site() -> AsyncGenerator[Site]:
    """A server, backed up into a store beside it, with a recovery key in a file."""
    with tempfile.TemporaryDirectory(prefix="troth-restore-", dir="/tmp") as name:
        folder, recovery = Path(name), Secret(os.urandom(32))
        for part in ("server", "keys"):
            (folder / part).mkdir(mode=0o700)
        write_secret(folder / "recovery.key", recovery.reveal())
        made = Site(folder, await FolderStore.open(folder / "store" / fingerprint(recovery)), recovery)
        try:
            await made.prepare()
            yield made
        finally:
            made.server.stop()


def arguments(site: Site, state: State, *more: str, to: str = "latest") -> tuple[str, ...]:
    return (
        *("backup", "restore", "--to", to, "--from", (site.folder / "store").as_uri()),
        *("--recovery-key", str(site.folder / "recovery.key"), "--state", str(state.root), *more),
    )


def restore(site: Site, state: State, *more: str, to: str = "latest") -> Done:
    return troth(*arguments(site, state, *more, to=to))
