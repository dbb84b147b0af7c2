"""The operator's requests, as the keeper carries them out, over the tests' database."""

from pathlib import Path
from typing import Any

import msgspec

from support.access import PORT
from support.platform import EXAMPLE
from support.postgres import Server
from troth.core.config import MailSettings, load_settings
from troth.core.state import open_state
from troth.data.keys import make_root_key
from troth.wiring.administration import Office, actions


class Operator:
    """Asks for `noun.verb` as the command line does, without the socket between them."""

    def __init__(self, postgres: Server, folder: Path, *, mail: MailSettings | None = None) -> None:
        self.state = open_state(folder / "state")
        make_root_key(self.state.root_key, sealed=False)
        settings = msgspec.structs.replace(load_settings(EXAMPLE), mail=mail)
        self._actions = actions(Office(settings, self.state, postgres.target, PORT))

    async def __call__(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        return await self._actions[name](arguments)
