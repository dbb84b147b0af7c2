"""A scratch server that ends under the connection that asks it."""

import pytest
from asyncpg import ConnectionDoesNotExistError

from troth.data.backups import recovering
from troth.data.backups.recovering import Recovery


class Asked:
    """A connection that answers, or is gone by then."""

    def __init__(self, *, gone: bool) -> None:
        self._gone = gone
        self.terminated = False

    async def fetchval(self, _: str) -> str:
        if self._gone:
            raise ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return "leads"

    def terminate(self) -> None:
        self.terminated = True


async def test_a_connection_that_is_lost_is_made_anew_and_is_no_failure_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, good = Asked(gone=True), Asked(gone=False)
    waiting = [gone, good]

    async def connect(_: object) -> Asked:
        return waiting.pop(0)

    monkeypatch.setattr(recovering, "connect", connect)
    recovery = Recovery.__new__(Recovery)
    monkeypatch.setattr(recovery, "_scratch", None, raising=False)
    assert await recovery._until_standing() is good  # pyright: ignore[reportPrivateUsage]
    assert (gone.terminated, good.terminated) == (True, False)
