"""A browser at a house with a post."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.access import House
from support.browser import WebAccess
from support.post import Post
from support.relay import running_relay


@pytest.fixture
async def post(web: WebAccess, house: House, tmp_path: Path) -> AsyncGenerator[Post]:
    await web.owner.execute("update troth.mail_order set done_at = now() where done_at is null")
    async with running_relay(tmp_path) as kept:
        yield Post(web, kept)
