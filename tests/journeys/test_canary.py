"""What a person writes in the browser is in no byte that the platform writes to disk."""

import asyncio
import os

from playwright.async_api import Browser

from support.chromium import context, file_ticket, sign_in
from support.person import signed_in
from support.platform import ANNA, MARKUS, RESIDENTS, Troth
from troth.core.db import Database
from troth.data.canary import new_marker, search


async def test_what_was_written_in_the_browser_is_in_no_byte_on_disk(
    chromium: Browser, platform: Troth, superuser: Database
) -> None:
    marker = new_marker()
    async with context(chromium) as browser:
        page = await browser.new_page()
        await sign_in(page, platform, ANNA)
        address = await file_ticket(
            page, platform.origin(RESIDENTS), f"Leak {marker}", f"Under the sink: {marker}"
        )
        assert await page.get_by_role("heading", name=marker).is_visible()

    # Changed by somebody else, so that old and new version, index, audit trail and both logs have seen it.
    async with signed_in(platform, MARKUS) as markus:
        path = f"tickets/{address.rpartition('/')[2]}"
        version = (await markus.call("GET", path)).headers["etag"]
        changed = await markus.change(path, {"answer": f"On Friday, {marker}."}, version=version)
        assert changed.status_code == 200, changed.text
    # The data files themselves, not only the write-ahead log.
    await superuser.execute("checkpoint")
    await platform.caught_up(superuser)

    seen = await asyncio.to_thread(search, platform.state.root, marker)
    assert seen.found == ()
    names = [str(path.relative_to(platform.state.root)) for path in platform.state.root.rglob("*")]
    assert seen.files > 1000
    for part in ("data/base/", "data/pg_wal/", "logs/access.log", "logs/web-1.log", "logs/keeper.log"):
        assert any(part in name for name in names), part
    assert sum("pg_wal/0" in name for name in names) >= platform.members


async def test_the_search_finds_what_is_there(platform: Troth, superuser: Database) -> None:
    """The same search, over the same folder, of a marker that careless programs would have left."""
    marker = new_marker()
    careless = platform.state.logs / "careless.log"
    careless.write_bytes(os.urandom(1_000_000) + marker.encode() + os.urandom(1000))
    # The database writes a comment as it is, to its write-ahead log at once; twice, for the header of a page
    # of the log may come to stand in the middle of one.
    await superuser.execute(f"comment on database troth is '{marker} {marker}'")
    try:
        seen = await asyncio.to_thread(search, platform.state.root, marker)
    finally:
        await superuser.execute("comment on database troth is null")
        careless.unlink()
    assert "logs/careless.log" in seen.found
    assert sum("pg_wal/" in name for name in seen.found) >= 2  # the leader's and a standby's
