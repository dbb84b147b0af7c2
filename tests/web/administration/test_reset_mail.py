"""The message that an administrator ordered: to the stored address, with a link to choose by."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.access import EMAIL, PASSWORD, House, sign_in
from support.administration import Official
from support.post import Post
from support.relay import link_in, running_relay
from troth.access.errors import SignInRefused

NEW = "mauve otters juggle"


@pytest.fixture
async def post(house: House, tmp_path: Path) -> AsyncGenerator[Post]:
    await house.access.owner.execute("update troth.mail_order set done_at = now() where done_at is null")
    async with running_relay(tmp_path) as kept:
        yield Post(house.access, kept)


async def test_the_person_chooses_by_the_link_and_the_old_password_is_over(
    boss: Official, house: House, post: Post
) -> None:
    await boss.call("POST", f"/api/v1/admin/users/{house.person}/reset-password")
    (message,) = await post.sent()
    assert message["To"].addresses[0].addr_spec == EMAIL
    token = link_in(message).partition("token=")[2]
    await house.access.links.set_password(house.domain, token, NEW, language="en")
    with pytest.raises(SignInRefused):
        await sign_in(house, EMAIL, PASSWORD)
    assert (await sign_in(house, EMAIL, NEW)).session.person == house.person


async def test_who_was_invited_signs_in_after_choosing(boss: Official, house: House, post: Post) -> None:
    body = {"email": "eva@lindenhof.example", "name": "Eva Stein"}
    made = (await boss.call("POST", "/api/v1/admin/users", body)).json()
    (message,) = await post.sent()
    token = link_in(message).partition("token=")[2]
    await house.access.links.set_password(house.domain, token, NEW, language="en")
    assert str((await sign_in(house, body["email"], NEW)).session.person) == made["id"]
