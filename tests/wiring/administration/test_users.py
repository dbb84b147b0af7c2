"""`user.*`: a tenant's people are added, invited, changed; and nobody but themselves chooses a password."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.access import Access, House, furnish
from support.office import Operator
from support.post import Post, set_policy
from support.postgres import Server
from support.relay import link_in, running_relay
from troth.access.errors import LinkRefused, NoSession
from troth.core.config import MailSettings
from troth.core.db import Database
from troth.core.errors import UsageError
from troth.data.keys import read_root_key

NEW = "mauve otters juggle"
MAYA = "Maya.Lindt@lindenhof.example"
RELAY = MailSettings(host="localhost", sender="no-reply@lindenhof.example", region="eu-central")


@pytest.fixture
async def house(
    database: Database, owner_database: Database, auditor_database: Database, operator: Operator
) -> House:
    root = read_root_key(operator.state.root_key)
    return await furnish(Access(database, owner_database, auditor_database, root=root))


@pytest.fixture
async def posting(postgres: Server, house: House, operator: Operator) -> Operator:
    """The operator of a platform that sends messages, over the same keys."""
    return Operator(postgres, operator.state.root.parent, mail=RELAY)


@pytest.fixture
async def post(house: House, tmp_path: Path) -> AsyncGenerator[Post]:
    access = house.access
    await access.owner.execute("update troth.mail_order set done_at = now() where done_at is null")
    async with running_relay(tmp_path) as kept:
        yield Post(access, kept)


async def invite(operator: Operator, house: House, email: str = MAYA, **rest: Any) -> dict[str, Any]:
    asked = {"name": "Maya Lindt", "roles": ["resident"], **rest}
    return await operator("user.invite", tenant=house.tenant.slug, email=email, **asked)


async def events(house: House) -> list[str]:
    rows = await house.access.auditor.fetch(
        "select event from troth.audit_event where tenant_id = $1 order by at", house.tenant.id
    )
    return [row["event"] for row in rows]


def link_in_file(told: dict[str, Any]) -> str:
    return Path(told["link_file"]).read_text().strip()


def token_in(told: dict[str, Any]) -> str:
    return link_in_file(told).partition("token=")[2]


def mode_of(file: str) -> tuple[int, int]:
    return Path(file).stat().st_mode & 0o777, Path(file).parent.stat().st_mode & 0o777


async def test_a_person_is_added_listed_and_shown(operator: Operator, house: House) -> None:
    slug = house.tenant.slug
    added = await operator("user.add", tenant=slug, email=MAYA, name="  Maya   Lindt ", roles=["resident"])
    assert (added["email"], added["name"]) == (MAYA, "Maya Lindt")
    assert (added["roles"], added["has_password"], added["disabled"]) == (("resident",), False, False)
    by_address = await operator("user.show", tenant=slug, who=MAYA.upper())
    by_id = await operator("user.show", tenant=slug, who=added["id"])
    assert by_address == by_id == added
    listed = await operator("user.list", tenant=slug)
    assert [one["email"] for one in listed["users"]] == ["anna.weber@lindenhof.example", MAYA]
    assert listed["next"] is None
    assert "people.added" in await events(house)


async def test_a_long_list_comes_in_pages(operator: Operator, house: House) -> None:
    slug = house.tenant.slug
    for number in range(5):
        await operator("user.add", tenant=slug, email=f"p{number}@lindenhof.example", name="P")
    seen: list[str] = []
    after = ""
    while True:
        page = await operator("user.list", tenant=slug, after=after, limit=2)
        seen += [one["email"] for one in page["users"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"email": "anna.weber@lindenhof.example"}, "somebody with this address already"),
        ({"email": "ANNA.weber@Lindenhof.example"}, "somebody with this address already"),
        ({"email": "nobody"}, "no e-mail address"),
        ({"email": "a@b.example\r\nBcc: x@y.example"}, "no e-mail address"),
        ({"name": "   "}, "cannot be shown"),
        ({"name": "a\x1b[2J"}, "cannot be shown"),
        ({"name": "x" * 121}, "cannot be shown"),
        ({"roles": ["emperor"]}, "has no role 'emperor'"),
        ({"roles": ["resident"] * 51}, "cannot be so"),
        ({"password": "chosen-by-an-administrator"}, "no argument 'password'"),
        ({"tenant": "nowhere"}, "no tenant"),
    ],
)
async def test_somebody_who_cannot_be_is_not_added(
    operator: Operator, house: House, arguments: dict[str, Any], said: str
) -> None:
    base: dict[str, Any] = {"tenant": house.tenant.slug, "email": MAYA, "name": "Maya", "roles": []}
    asked = {**base, **arguments}
    with pytest.raises(UsageError, match=said):
        await operator("user.add", **asked)
    assert len((await operator("user.list", tenant=house.tenant.slug))["users"]) == 1


async def test_people_of_another_tenant_are_nobody(operator: Operator, house: House) -> None:
    other = await furnish(house.access)
    for verb in ("show", "disable", "enable", "sign-out", "reset-factors", "reset-password"):
        for who in (str(other.person), "nobody@lindenhof.example"):
            with pytest.raises(UsageError, match="has nobody like"):
                await operator(f"user.{verb}", tenant=house.tenant.slug, who=who)
    with pytest.raises(UsageError, match="has nobody like"):
        await operator("user.roles", tenant=house.tenant.slug, who=str(other.person), roles=[])
    begun = await other.begin()
    assert (await other.access.sessions.open(other.domain, begun.token)).person == other.person


async def test_roles_are_given_and_taken_and_what_is_not_is_refused(operator: Operator, house: House) -> None:
    slug, who = house.tenant.slug, str(house.person)
    session = (await house.begin()).session
    assert session.person_scopes
    assert (await operator("user.roles", tenant=slug, who=who, roles=[]))["roles"] == ()
    assert (await house.begin()).session.person_scopes == ()
    with pytest.raises(UsageError, match="has no role 'emperor'"):
        await operator("user.roles", tenant=slug, who=who, roles=["resident", "emperor"])
    assert (await operator("user.show", tenant=slug, who=who))["roles"] == ()
    await operator("user.roles", tenant=slug, who=who, roles=["resident", "resident"])
    assert (await operator("user.show", tenant=slug, who=who))["roles"] == ("resident",)
    assert (await events(house)).count("person.roles_changed") == 2


@pytest.mark.parametrize("verb", ["disable", "sign-out", "reset-factors"])
async def test_what_ends_a_session_ends_it_at_once(operator: Operator, house: House, verb: str) -> None:
    begun = await house.begin()
    await operator(f"user.{verb}", tenant=house.tenant.slug, who=str(house.person))
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)


async def test_who_was_disabled_comes_back_when_enabled(operator: Operator, house: House) -> None:
    slug, who = house.tenant.slug, str(house.person)
    assert (await operator("user.disable", tenant=slug, who=who))["disabled"] is True
    with pytest.raises(UsageError, match="is disabled"):
        await operator("user.reset-password", tenant=slug, who=who)
    assert (await operator("user.enable", tenant=slug, who=who))["disabled"] is False
    begun = await house.begin()
    assert (await house.access.sessions.open(house.domain, begun.token)).person == house.person


async def test_an_invitation_is_sent_and_accepted(posting: Operator, house: House, post: Post) -> None:
    told = await invite(posting, house, language="de")
    assert "link_file" not in told
    (message,) = await post.sent()
    assert message["To"] == MAYA
    assert message["Subject"].startswith("Ihre Einladung")
    token = link_in(message).partition("token=")[2]
    await house.access.links.set_password(house.domain, token, NEW, language="de")
    begun = await house.access.sign_in.sign_in(house.domain, MAYA, NEW)
    assert str(begun.session.person) == told["id"]  # type: ignore[union-attr]
    shown = await posting("user.show", tenant=house.tenant.slug, who=MAYA)
    assert shown["has_password"]
    assert shown["email_verified_at"]
    with pytest.raises(UsageError, match="has a password already"):
        await invite(posting, house)


async def test_a_second_invitation_makes_the_first_useless(
    posting: Operator, house: House, post: Post
) -> None:
    first = await invite(posting, house)
    (old,) = await post.sent()
    second = await invite(posting, house)
    (new,) = await post.sent()
    assert first["id"] == second["id"]
    links = house.access.links
    with pytest.raises(LinkRefused):
        await links.find(house.domain, link_in(old).partition("token=")[2], "invitation")
    await links.find(house.domain, link_in(new).partition("token=")[2], "invitation")


async def test_an_operator_has_a_reset_sent_and_the_old_password_is_good_until_then(
    posting: Operator, house: House, post: Post
) -> None:
    begun = await house.begin()
    await posting("user.reset-password", tenant=house.tenant.slug, who=str(house.person))
    (message,) = await post.sent()
    await house.access.sessions.open(house.domain, begun.token)
    token = link_in(message).partition("token=")[2]
    await house.access.links.set_password(house.domain, token, NEW, language="en")
    await house.access.sign_in.sign_in(house.domain, "anna.weber@lindenhof.example", NEW)


async def test_without_a_relay_the_link_lies_in_a_file_of_the_owners(
    operator: Operator, house: House
) -> None:
    told = await invite(operator, house)
    assert mode_of(told["link_file"]) == (0o600, 0o700)
    assert link_in_file(told).startswith(f"{house.domain.issuer}/account/invitation?token=")
    assert token_in(told) not in str(told)
    await house.access.links.set_password(house.domain, token_in(told), NEW, language="en")
    await house.access.sign_in.sign_in(house.domain, MAYA, NEW)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"domain": "elsewhere.example"}, "has no domain"),
        ({"language": "fr"}, "cannot be so"),
        ({"roles": ["emperor"]}, "has no role"),
        ({"email": "anna.weber@lindenhof.example"}, "has a password already"),
    ],
)
async def test_an_invitation_that_cannot_be_adds_nobody(
    operator: Operator, house: House, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await invite(operator, house, **arguments)
    assert len((await operator("user.list", tenant=house.tenant.slug))["users"]) == 1
    assert not operator.state.links.exists()


async def test_an_invitation_gives_no_other_roles_to_who_is_here(operator: Operator, house: House) -> None:
    await operator("user.add", tenant=house.tenant.slug, email=MAYA, name="Maya", roles=[])
    with pytest.raises(UsageError, match="with other roles: none"):
        await invite(operator, house)


async def test_a_tenant_that_nobody_joins_invites_nobody(operator: Operator, house: House) -> None:
    await set_policy(house, registration="closed")
    with pytest.raises(UsageError, match="lets nobody join"):
        await invite(operator, house)


async def test_where_there_are_two_domains_one_is_named(operator: Operator, house: House) -> None:
    second = f"second-{house.tenant.domain}"
    await house.access.owner.execute(
        "insert into troth.domain (name, tenant_id, app, branding) values ($1, $2, 'app', '{}')",
        second,
        house.tenant.id,
    )
    with pytest.raises(UsageError, match="To which domain"):
        await invite(operator, house)
    told = await invite(operator, house, domain=second)
    assert told["domain"] == second
    with pytest.raises(LinkRefused):
        await house.access.links.find(house.domain, token_in(told), "invitation")


async def test_an_instance_can_do_none_of_this(house: House) -> None:
    for statement in (
        "select * from troth.people($1, null, 10)",
        "select troth.set_roles($1, $2, '{}')",
        "select troth.sign_out($1, $2)",
        "select troth.add_people($1, array[$2::uuid], '{}', '{}', '{}', '{}', '{}')",
        "select troth.order_mail_to($2, $1, 'x', 'invitation', 'en', $2)",
    ):
        arguments = (house.tenant.id, house.person)[: 1 if "$2" not in statement else 2]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await house.access.database.fetch(statement, *arguments)
