"""The operator's requests, as the keeper carries them out, over the tests' database."""

from pathlib import Path
from typing import Any

from support.platform import EXAMPLE
from support.postgres import Server
from troth.core.config import load_settings
from troth.core.state import open_state
from troth.data.keys import make_root_key
from troth.wiring.administration import Office, actions


class Operator:
    """Asks for `noun.verb` as the command line does, without the socket between them."""

    def __init__(self, postgres: Server, folder: Path) -> None:
        state = open_state(folder / "state")
        make_root_key(state.root_key, sealed=False)
        self._actions = actions(Office(load_settings(EXAMPLE), state, postgres.target))

    async def __call__(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        return await self._actions[name](arguments)
