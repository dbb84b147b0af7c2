"""A house with a post: a relay that keeps what it is handed, and the worker that hands it in."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.access import House
from support.post import Post
from support.relay import running_relay


@pytest.fixture
async def post(house: House, tmp_path: Path) -> AsyncGenerator[Post]:
    await house.access.owner.execute("update troth.mail_order set done_at = now() where done_at is null")
    async with running_relay(tmp_path) as kept:
        yield Post(house.access, kept)
