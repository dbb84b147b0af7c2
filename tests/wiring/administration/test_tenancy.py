"""`tenant.*` and `domain.*`: customers and domains come and go while the platform runs."""

import base64
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from support.access import Access, House
from support.name_server import NameServer, name_server
from support.office import Operator
from troth.access.errors import NoSession
from troth.access.ownership import NameServers, NotOwned
from troth.access.tenancy import DomainView, NewDomain, Tenancy
from troth.access.tenants import DomainDirectory
from troth.core.db import Database
from troth.core.errors import NotFound, Unavailable, UsageError


@pytest.fixture
async def customer(operator: Operator) -> str:
    slug = f"customer-{secrets.token_hex(4)}"
    await operator("tenant.add", slug=slug, name="Customer & Sons")
    return slug


def fresh(suffix: str = "localhost") -> str:
    return f"portal-{secrets.token_hex(4)}.{suffix}"


async def serves(access: Access, name: str) -> bool:
    """Whether an instance serves the name a second after what was done."""
    access.clock.advance(seconds=1)
    try:
        return (await access.directory.find(name)).name == name
    except NotFound:
        return False


async def test_a_customer_and_its_domain_serve_a_second_after_they_were_added(
    operator: Operator, house: House, customer: str
) -> None:
    name = fresh()
    assert not await serves(house.access, name)
    answer = await operator("domain.add", name=name, tenant=customer)
    assert (answer["state"], answer["tenant"], answer["declared"]) == ("active", customer, False)
    assert await serves(house.access, name)
    domain = await house.access.directory.find(name)
    assert (domain.tenant, domain.branding.name) == (customer, "Customer & Sons")
    assert (await house.access.keys.ring(domain)).signer.kid


async def test_a_domain_that_is_removed_serves_no_more_and_its_sessions_are_over(
    operator: Operator, house: House
) -> None:
    name = fresh()
    await operator("domain.add", name=name, tenant=house.tenant.slug)
    house.access.clock.advance(seconds=1)
    domain = await house.access.directory.find(name)
    begun = await msgspec.structs.replace(house, domain=domain).begin()
    assert (await house.access.sessions.open(domain, begun.token)).id == begun.session.id
    answer = await operator("domain.remove", name=name)
    assert answer["sessions_ended"] == 1
    with pytest.raises(NoSession):
        await house.access.sessions.open(domain, begun.token)
    assert not await serves(house.access, name)
    assert name not in str(await operator("domain.list", tenant=house.tenant.slug))


async def test_a_domain_that_changes_hands_leaves_sessions_and_keys_behind(
    operator: Operator, house: House, customer: str
) -> None:
    name = fresh()
    await operator("domain.add", name=name, tenant=house.tenant.slug)
    house.access.clock.advance(seconds=1)
    before = (await house.access.keys.ring(await house.access.directory.find(name))).signer.kid
    with pytest.raises(UsageError, match=f"is a domain of {house.tenant.slug} already"):
        await operator("domain.add", name=name, tenant=customer)
    await operator("domain.remove", name=name)
    await operator("domain.add", name=name, tenant=customer)
    house.access.clock.advance(minutes=2)
    domain = await house.access.directory.find(name)
    assert domain.tenant == customer
    assert (await house.access.keys.ring(domain)).signer.kid != before


async def test_a_suspended_customer_is_served_nowhere_until_it_is_resumed(
    operator: Operator, house: House
) -> None:
    begun = await house.begin()
    await operator("tenant.suspend", name=house.tenant.slug)
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)
    assert not await serves(house.access, house.tenant.domain)
    assert not (await operator("tenant.show", name=house.tenant.slug))["active"]
    await operator("tenant.resume", name=house.tenant.slug)
    assert await serves(house.access, house.tenant.domain)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("localhost", "at least two parts"),
        ("https://a.localhost", "bare host name"),
        ("*.a.localhost", "bare host name"),
        ("a.localhost:8443", "bare host name"),
        ("a..localhost", "no host name"),
        ("127.0.0.1", "address"),
        ("probes.troth.internal", "platform's own"),
        ("deep.troth.internal", "platform's own"),
        ("mtls.a.localhost", "aliases"),
        ("MTLS.a.localhost", "aliases"),
        (".".join(["a" * 60] * 4) + ".localhost", "no host name|at most"),
        ("", "no host name|at least two"),
    ],
)
async def test_a_name_that_cannot_be_a_domain_is_refused(
    operator: Operator, customer: str, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await operator("domain.add", name=name, tenant=customer)
    assert (await operator("domain.list", tenant=customer))["domains"] == []


async def test_every_spelling_of_a_name_is_the_same_domain(operator: Operator, customer: str) -> None:
    mark = secrets.token_hex(4)
    answer = await operator("domain.add", name=f" Bücher-{mark}.Localhost", tenant=customer)
    assert answer["name"].startswith("xn--")
    for spelling in (f"BÜCHER-{mark}.localhost", answer["name"]):
        with pytest.raises(UsageError, match="already"):
            await operator("domain.add", name=spelling, tenant=customer)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"colour": "#ffff00"}, "contrast"),
        ({"colour": "red"}, "no colour"),
        ({"brand": "a\nb"}, "cannot be shown"),
        ({"app": "nothing"}, "no application 'nothing'"),
        ({"tenant": "nobody"}, "no tenant 'nobody'"),
        ({"logo": {"type": "image/svg+xml", "data": "PHN2Zz48c2NyaXB0Lz48L3N2Zz4="}}, "SVG"),
        ({"logo": {"type": "text/html", "data": ""}}, "neither"),
    ],
)
async def test_a_domain_that_looks_or_leads_wrongly_is_refused(
    operator: Operator, customer: str, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await operator("domain.add", **{"name": fresh(), "tenant": customer, **asked})
    assert (await operator("domain.list", tenant=customer))["domains"] == []


async def test_a_logo_and_a_colour_come_with_the_domain(
    operator: Operator, house: House, customer: str
) -> None:
    name, picture = fresh(), b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    logo = {"type": "image/svg+xml", "data": base64.b64encode(picture).decode()}
    await operator("domain.add", name=name, tenant=customer, brand="Sons", colour="#123456", logo=logo)
    house.access.clock.advance(seconds=1)
    branding = (await house.access.directory.find(name)).branding
    assert (branding.name, branding.colour) == ("Sons", "#123456")
    assert branding.logo is not None
    assert branding.logo.data == picture


async def test_a_policy_is_changed_member_by_member_and_a_misspelt_one_is_refused(
    operator: Operator, customer: str
) -> None:
    await operator("tenant.policy", name=customer, policy={"second_factor": "required"})
    answer = await operator("tenant.policy", name=customer, policy={"session_idle_minutes": 5})
    assert answer["policy"] == {"second_factor": "required", "session_idle_minutes": 5}
    for wrong in ({"second_facter": "off"}, {"second_factor": "never"}, {"session_idle_minutes": 0}):
        with pytest.raises(UsageError):
            await operator("tenant.policy", name=customer, policy=wrong)
    assert (await operator("tenant.show", name=customer))["policy"] == answer["policy"]


async def test_only_a_customer_of_whom_nothing_is_kept_is_removed(
    operator: Operator, house: House, customer: str
) -> None:
    await operator("tenant.remove", name=customer)
    with pytest.raises(UsageError, match="no tenant"):
        await operator("tenant.show", name=customer)
    with pytest.raises(UsageError, match="cannot be removed"):
        await operator("tenant.remove", name=house.tenant.slug)
    assert await serves(house.access, house.tenant.domain)


async def test_a_short_name_is_taken_once(operator: Operator, customer: str) -> None:
    with pytest.raises(UsageError, match="already"):
        await operator("tenant.add", slug=customer, name="Another")
    for slug in ("troth-probes", "Big Name", "", "-a"):
        with pytest.raises(UsageError, match="short name"):
            await operator("tenant.add", slug=slug, name="Another")


# Names that are somebody's ------------------------------------------------------------


@pytest.fixture
def tenancy(owner_database: Database) -> Any:
    def over(names: NameServer) -> Tenancy:
        return Tenancy(owner_database, frozenset({"portal"}), NameServers(("127.0.0.1",), names.port))

    return over


async def test_a_customers_own_domain_serves_once_its_record_stands_in_the_dns(
    tenancy: Any, house: House, customer: str
) -> None:
    name = fresh("org")
    async with name_server() as names:
        service: Tenancy = tenancy(names)
        added = await service.add_domain(NewDomain(name=name, tenant=customer, app="portal"))
        assert (added.state, added.record.partition(" ")[0]) == ("pending", f"_troth-challenge.{name}.")
        assert not await serves(house.access, name)
        with pytest.raises(NotOwned):
            await service.check_domain(name)
        assert not await serves(house.access, name)
        names.publish(f"_troth-challenge.{name}", added.record.split('"')[1])
        assert (await service.check_domain(name)).state == "active"
        assert await serves(house.access, name)


async def test_the_record_of_one_customer_proves_nothing_for_another(
    tenancy: Any, house: House, customer: str
) -> None:
    name = fresh("org")
    async with name_server() as names:
        service: Tenancy = tenancy(names)
        first = await service.add_domain(NewDomain(name=name, tenant=customer, app="portal"))
        names.publish(f"_troth-challenge.{name}", first.record.split('"')[1])
        await service.check_domain(name)
        await service.remove_domain(name)
        second = await service.add_domain(NewDomain(name=name, tenant=house.tenant.slug, app="portal"))
        assert second.record != first.record
        with pytest.raises(NotOwned):
            await service.check_domain(name)
        assert not await serves(house.access, name)


async def test_a_record_that_is_gone_is_alarmed_once_and_takes_nothing_down(
    tenancy: Any, house: House, customer: str
) -> None:
    name, owner = fresh("org"), house.access.owner
    long_ago = "update troth.domain set asked_at = now() - interval '2 days' where name = $1"
    alarms = "select count(*) from troth.audit_event where event = 'domain.proof_gone' and domain = $1"
    async with name_server() as names:
        service: Tenancy = tenancy(names)
        added = await service.add_domain(NewDomain(name=name, tenant=customer, app="portal"))
        names.publish(added.record.partition(". ")[0], added.record.split('"')[1])
        await service.check_domain(name)
        assert name not in await service.recheck(most=1000)  # it was asked for a moment ago
        await owner.execute(long_ago, name)
        assert name not in await service.recheck(most=1000)  # it still stands there
    async with name_server() as names:
        service = tenancy(names)
        for _ in range(2):
            await owner.execute(long_ago, name)
            assert name in await service.recheck(most=1000)
        assert await house.access.auditor.fetchval(alarms, name) == 1
        assert (await service.domain(name)).proof_gone
        assert await serves(house.access, name)
        names.failing.add(added.record.partition(". ")[0])
        await owner.execute(long_ago, name)
        assert name not in await service.recheck(most=1000)  # nobody answered: nothing is concluded
        assert (await service.domain(name)).proof_gone
        names.failing.clear()
        names.publish(added.record.partition(". ")[0], added.record.split('"')[1])
        await owner.execute(long_ago, name)
        await service.recheck(most=1000)
        assert not (await service.domain(name)).proof_gone


async def test_many_local_names_are_added_at_once_and_memory_stays_bounded(
    tenancy: Any, house: House, customer: str
) -> None:
    mark = secrets.token_hex(4)
    wanted = [f"d{number}-{mark}.localhost" for number in range(3000)]
    async with name_server() as names:
        service: Tenancy = tenancy(names)
        assert await service.add_local_domains(customer, "portal", wanted) == 3000
        assert await service.add_local_domains(customer, "portal", wanted[:10]) == 0
        with pytest.raises(UsageError, match="no local name"):
            await service.add_local_domains(customer, "portal", [fresh(), fresh("org")])
        pages = [page async for page in pages_of(service, customer)]
    assert [len(page) for page in pages] == [200] * 15
    directory = DomainDirectory(house.access.database, house.access.clock, capacity=64)
    for name in wanted[:500]:
        await directory.find(name)
    assert len(directory) <= 128


async def pages_of(service: Tenancy, tenant: str) -> AsyncIterator[tuple[DomainView, ...]]:
    after = ""
    while page := await service.domains(tenant=tenant, after=after):
        yield page
        after = page[-1].name


async def test_strangers_do_not_make_an_instance_look_up_names_without_end(house: House) -> None:
    directory = DomainDirectory(house.access.database, house.access.clock)
    refused = 0
    for number in range(300):
        try:
            await directory.find_for_stranger(f"guess{number}.example")
        except Unavailable:
            refused += 1
        except NotFound:
            pass
    assert refused == 100
    assert (await directory.find(house.tenant.domain)).name == house.tenant.domain
    house.access.clock.advance(seconds=1)
    assert (await directory.find_for_stranger(house.tenant.domain)).name == house.tenant.domain
