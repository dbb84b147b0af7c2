"""Links in messages: once, for a while, on their own domain; and nobody learns who has an account."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID

import asyncpg
import pytest

from support.access import EMAIL, NAME, PASSWORD, Access, House, furnish
from support.factors import add_app
from support.post import Post, set_policy
from support.relay import link_in, text_of
from troth.access.accounts.letters import Asked, Wanted
from troth.access.accounts.people import Profile
from troth.access.errors import (
    LinkRefused,
    NoSession,
    PasswordNotAccepted,
    SignInRefused,
    TooManyTries,
    WrongPassword,
)
from troth.access.factors.pending import FactorNeeded
from troth.access.sessions import Begun
from troth.core.db import Database

NEW = "mauve otters juggle"
STRANGER = "new.person@lindenhof.example"


async def order(
    house: House, kind: Asked, email: str, *, person: UUID | None = None, address: str = ""
) -> None:
    await house.access.letters.order(
        house.domain, kind, Wanted(email, "New Person"), language="en", person=person, address=address
    )


async def token_for(house: House, post: Post, kind: Asked = "reset", email: str = EMAIL) -> str:
    await order(house, kind, email, person=house.person if kind in ("verification", "email_change") else None)
    (message,) = await post.sent()
    return link_in(message).partition("token=")[2]


async def reset(house: House, token: str, password: str = NEW) -> Profile:
    return await house.access.links.set_password(house.domain, token, password, language="en")


async def fails(attempt: Awaitable[object]) -> bool:
    try:
        await attempt
    except LinkRefused:
        return True
    return False


async def test_a_forgotten_password_is_replaced_and_every_session_ends(house: House, post: Post) -> None:
    begun = await house.begin()
    await reset(house, await token_for(house, post))
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)
    with pytest.raises(SignInRefused):
        await house.access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)
    await house.access.sign_in.sign_in(house.domain, EMAIL, NEW)


async def test_a_new_password_by_a_link_leaves_the_second_factor_to_be_asked_for(
    house: House, post: Post
) -> None:
    await add_app(house)
    await reset(house, await token_for(house, post))
    assert isinstance(await house.access.sign_in.sign_in(house.domain, EMAIL, NEW), FactorNeeded)


async def test_the_owner_is_told_of_the_change(house: House, post: Post) -> None:
    await reset(house, await token_for(house, post))
    (notice,) = await post.sent()
    assert notice["Subject"] == f"Your password for {house.domain.branding.name} was changed"
    assert "https://" not in text_of(notice)


async def test_an_unknown_address_gets_nothing_and_the_order_looks_the_same(house: House, post: Post) -> None:
    await order(house, "reset", "nobody@example.org")
    assert await post.sent() == []
    outcome = await house.access.auditor.fetchval(
        "select outcome from troth.mail_order where tenant_id = $1", house.tenant.id
    )
    assert outcome == "nobody has this address"


async def test_a_message_goes_to_the_stored_address_and_never_to_the_typed_one(
    house: House, post: Post
) -> None:
    # “ﬀ” and “ff” fold into one: who owns the other domain must not get the link.
    await order(house, "reset", EMAIL.replace("weber", "ｗeber").upper())
    assert [message["To"] for message in await post.sent()] == [EMAIL]


async def test_disabled_people_get_nothing(house: House, post: Post) -> None:
    await house.access.owner.execute("select troth.set_disabled($1, $2, true)", house.tenant.id, house.person)
    await order(house, "reset", EMAIL)
    assert await post.sent() == []


async def test_a_link_is_good_once(house: House, post: Post) -> None:
    token = await token_for(house, post)
    await reset(house, token)
    with pytest.raises(LinkRefused):
        await reset(house, token)
    with pytest.raises(LinkRefused):
        await house.access.links.find(house.domain, token, "reset")


async def test_of_many_that_use_a_link_at_once_one_succeeds(house: House, post: Post) -> None:
    token = await token_for(house, post)
    failed = await asyncio.gather(*(fails(reset(house, token, f"{NEW} {n}")) for n in range(6)))
    assert failed.count(False) == 1
    winner = failed.index(False)
    await house.access.sign_in.sign_in(house.domain, EMAIL, f"{NEW} {winner}")


async def test_a_newer_link_makes_the_older_useless(house: House, post: Post) -> None:
    first = await token_for(house, post)
    second = await token_for(house, post)
    assert await fails(reset(house, first))
    await reset(house, second)


async def test_changing_a_password_makes_open_links_useless(house: House, post: Post) -> None:
    token = await token_for(house, post)
    access, begun = house.access, await house.begin()
    await access.links.change_password(house.domain, begun.session, begun.token, PASSWORD, NEW, language="en")
    assert await fails(reset(house, token))


async def test_a_link_is_good_on_its_own_domain_alone(access: Access, house: House, post: Post) -> None:
    other = await furnish(access)
    token = await token_for(house, post)
    with pytest.raises(LinkRefused):
        await reset(other, token)
    await reset(house, token)


async def test_a_link_of_the_same_tenants_other_domain_is_refused(house: House, post: Post) -> None:
    name = f"second-{house.domain.name}"
    await house.access.owner.execute(
        "insert into troth.domain (name, tenant_id, app, branding) values ($1, $2, 'app', '{}')",
        name,
        house.tenant.id,
    )
    token = await token_for(house, post)
    second = await house.access.directory.find(name)
    assert await fails(house.access.links.set_password(second, token, NEW, language="en"))


async def test_a_link_is_good_for_its_own_purpose_alone(house: House, post: Post) -> None:
    token = await token_for(house, post, "verification")
    assert await fails(reset(house, token))
    assert await fails(house.access.links.register(house.domain, token, NEW))
    reset_token = await token_for(house, post)
    assert await fails(house.access.links.confirm(house.domain, reset_token, language="en"))
    await reset(house, reset_token)


async def test_a_link_grows_old(house: House, post: Post, superuser_database: Database) -> None:
    token = await token_for(house, post)
    await superuser_database.execute(
        "update troth.account_link set expires_at = now() - interval '1 second' where tenant_id = $1",
        house.tenant.id,
    )
    assert await fails(reset(house, token))


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 44, "ä" * 43, "\0" * 43, "A" * 10_000])
async def test_made_up_tokens_are_good_for_nothing(house: House, token: str) -> None:
    assert await fails(reset(house, token))


async def test_a_password_that_is_refused_leaves_the_link_good(house: House, post: Post) -> None:
    token = await token_for(house, post)
    for bad in ("short", "password1", "anna.weber", "x" * 129):
        with pytest.raises(PasswordNotAccepted):
            await reset(house, token, bad)
    await reset(house, token)


async def test_tokens_and_addresses_do_not_lie_in_the_database(
    house: House, post: Post, superuser_database: Database
) -> None:
    await order(house, "reset", EMAIL)
    waiting = await superuser_database.fetch(
        "select * from troth.mail_order where tenant_id = $1", house.tenant.id
    )
    assert EMAIL.encode() not in bytes(waiting[0]["payload"])
    (message,) = await post.sent()
    token = link_in(message).partition("token=")[2]
    for table in ("mail_order", "account_link", "audit_event"):
        rows = await superuser_database.fetch(f"select * from troth.{table}")  # noqa: S608
        text = repr([dict(row) for row in rows])
        assert token not in text
        assert EMAIL not in text
    done = await superuser_database.fetchval(
        "select payload is null from troth.mail_order where tenant_id = $1", house.tenant.id
    )
    assert done


async def test_a_stranger_registers_where_it_is_open(house: House, post: Post) -> None:
    await set_policy(house, registration="open", joining_roles=["resident"])
    token = await token_for(house, post, "registration", STRANGER)
    await house.access.links.register(house.domain, token, NEW)
    begun = await house.access.sign_in.sign_in(house.domain, STRANGER, NEW)
    assert isinstance(begun, Begun)
    assert "announcements:read" in begun.session.person_scopes
    profile = await house.access.accounts.profile(
        begun.session.tenant, begun.session.person, begun.session.profile
    )
    assert profile == Profile(STRANGER, "New Person")
    assert await fails(house.access.links.register(house.domain, token, NEW))


@pytest.mark.parametrize(
    "policy", [{}, {"registration": "invitation"}, {"registration": "open", "email_domains": ["x.example"]}]
)
async def test_a_stranger_whom_the_policy_does_not_admit_gets_no_link(
    house: House, post: Post, policy: dict[str, object]
) -> None:
    await set_policy(house, **policy)
    await order(house, "registration", STRANGER)
    assert await post.sent() == []


async def test_registration_that_was_closed_meanwhile_makes_nobody(house: House, post: Post) -> None:
    await set_policy(house, registration="open")
    token = await token_for(house, post, "registration", STRANGER)
    await set_policy(house, registration="invitation")
    assert await fails(house.access.links.register(house.domain, token, NEW))
    found = await house.access.accounts.find(house.domain.name, house.tenant.id, STRANGER)
    assert found is None


async def test_who_has_an_account_is_told_so_by_mail_alone(house: House, post: Post) -> None:
    await set_policy(house, registration="open")
    await order(house, "registration", EMAIL)
    (message,) = await post.sent()
    assert message["Subject"].startswith("You have an account at")
    assert "https://" not in text_of(message)


async def test_two_registrations_of_one_address_make_one_person(house: House, post: Post) -> None:
    await set_policy(house, registration="open")
    token = await token_for(house, post, "registration", STRANGER)
    made = await asyncio.gather(
        *(fails(house.access.links.register(house.domain, token, f"{NEW} {n}")) for n in range(4))
    )
    assert made.count(False) == 1


async def test_an_address_is_changed_by_a_link_to_the_new_one_and_the_old_one_is_told(
    house: House, post: Post
) -> None:
    reset_token = await token_for(house, post)
    token = await token_for(house, post, "email_change", STRANGER)
    await house.access.links.confirm(house.domain, token, language="de")
    (notice,) = await post.sent()
    assert notice["To"] == EMAIL
    assert STRANGER not in text_of(notice)
    await house.access.sign_in.sign_in(house.domain, STRANGER, PASSWORD)
    with pytest.raises(SignInRefused):
        await house.access.sign_in.sign_in(house.domain, EMAIL, PASSWORD)
    assert await fails(reset(house, reset_token))


async def test_an_address_that_somebody_took_meanwhile_is_not_taken_over(house: House, post: Post) -> None:
    token = await token_for(house, post, "email_change", STRANGER)
    await house.access.registrar.add(house.tenant.id, Profile(STRANGER, "First"), (), None)
    assert await fails(house.access.links.confirm(house.domain, token, language="en"))


async def test_an_address_is_confirmed(house: House, post: Post) -> None:
    token = await token_for(house, post, "verification")
    link = await house.access.links.confirm(house.domain, token, language="en")
    assert link.profile == Profile(EMAIL, NAME)
    assert await house.access.auditor.fetchval(
        "select email_verified_at is not null from troth.person where id = $1", house.person
    )


async def test_changing_ones_password_needs_the_old_one_and_counts_as_a_try(house: House) -> None:
    begun, links = await house.begin(), house.access.links
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await links.change_password(
                house.domain, begun.session, begun.token, "wrong", NEW, language="en", address="192.0.2.1"
            )
    with pytest.raises(TooManyTries):
        await links.change_password(
            house.domain, begun.session, begun.token, PASSWORD, NEW, language="en", address="192.0.2.1"
        )


async def test_one_address_gets_three_messages_an_hour_and_nobody_is_told(house: House, post: Post) -> None:
    for _ in range(5):
        await order(house, "reset", EMAIL)
    assert len(await post.sent()) == 3


async def test_one_network_asks_for_ten_messages_and_then_waits(house: House) -> None:
    for number in range(10):
        await order(house, "reset", f"{number}@example.org", address="192.0.2.1")
    for email in (EMAIL, "nobody@example.org"):
        with pytest.raises(TooManyTries) as refused:
            await order(house, "reset", email, address="192.0.2.1")
        assert refused.value.retry_after >= 59


async def test_a_message_that_the_relay_does_not_take_now_waits_and_is_sent_later(
    house: House, post: Post, superuser_database: Database
) -> None:
    await order(house, "reset", EMAIL)
    post.kept.refuse = "451 come back"
    assert await post.sent() == []
    post.kept.refuse = ""
    assert await post.sent() == []
    await superuser_database.execute(
        "update troth.mail_order set due_at = now() where tenant_id = $1", house.tenant.id
    )
    (message,) = await post.sent()
    await reset(house, link_in(message).partition("token=")[2])


async def test_a_message_is_given_up_when_its_refusal_lasts_or_it_is_a_day_old(
    house: House, post: Post, superuser_database: Database
) -> None:
    post.kept.refuse = "550 no"
    await order(house, "reset", EMAIL)
    await post.sent()
    post.kept.refuse = "451 come back"
    await order(house, "reset", EMAIL)
    await superuser_database.execute(
        "update troth.mail_order set created_at = now() - interval '25 hours'"
        " where tenant_id = $1 and done_at is null",
        house.tenant.id,
    )
    await post.sent()
    outcomes = await house.access.auditor.fetch(
        "select outcome, done_at is not null as done from troth.mail_order where tenant_id = $1",
        house.tenant.id,
    )
    assert {(row["outcome"], row["done"]) for row in outcomes} == {
        ("the relay answered 550", True),
        ("the relay answered 451", True),
    }


async def test_an_instance_can_order_no_invitation_and_make_no_link(house: House) -> None:
    for statement in (
        "insert into troth.mail_order (id, tenant_id, domain, kind, language)"
        " select gen_random_uuid(), d.tenant_id, d.name, 'invitation', 'en' from troth.domain d"
        " where d.tenant_id = troth.context_tenant()",
        "insert into troth.account_link (token_hash, tenant_id, domain, kind, email_index, expires_at)"
        " select 'x', d.tenant_id, d.name, 'reset', 'x', now() from troth.domain d",
        "select * from troth.mail_order",
        "select troth.make_link(troth.context_tenant(), 'x', 'reset', null, 'x', null, 'x', '1h')",
        "select troth.use_link('x', 'x', array['reset'])",
        "update troth.account_link set used_at = null",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with house.access.database.transaction() as connection:
                await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
                await connection.execute(statement)
