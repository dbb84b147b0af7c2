"""Host names, domains and the bounded memory for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.access import Access, House
from support.postgres import new_tenant
from troth.access.tenants import DomainDirectory, read_host
from troth.core.errors import NotFound
from troth.core.names import origin_of


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("app.example", "app.example"),
        ("APP.Example:8443", "app.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_read_without_its_port(header: str, name: str) -> None:
    assert read_host(header) == name


@given(st.text(max_size=300))
def test_whatever_comes_as_host_is_a_name_or_not_found(header: str) -> None:
    try:
        name = read_host(header)
    except NotFound:
        return
    assert name.isascii()
    assert not set(name) & set("/\\@:# \r\n")


def test_the_issuer_names_the_port_unless_it_is_the_usual_one() -> None:
    assert origin_of("app.example", 443) == "https://app.example"
    assert origin_of("app.example", 8443) == "https://app.example:8443"


async def test_a_domain_knows_its_tenant_and_issuer(house: House) -> None:
    assert house.domain.tenant_id == house.tenant.id
    assert house.domain.issuer == f"https://{house.tenant.domain}:8443"
    assert house.domain.audience == f"{house.domain.issuer}/api/v1"
    assert house.domain.branding.name == house.tenant.slug.upper()


async def test_a_new_domain_serves_within_a_second(access: Access, house: House) -> None:
    late = f"late-{house.tenant.domain}"
    with pytest.raises(NotFound):
        await access.directory.find(late)
    await access.owner.execute(
        "insert into troth.domain (name, tenant_id, app, branding) values ($1, $2, 'app', '{}')",
        late,
        house.tenant.id,
    )
    access.clock.advance(seconds=1)
    assert (await access.directory.find(late)).name == late


async def test_a_suspended_tenants_domain_is_unknown_after_seconds(access: Access, house: House) -> None:
    await access.owner.execute("update troth.tenant set active = false where id = $1", house.tenant.id)
    access.clock.advance(seconds=10)
    with pytest.raises(NotFound):
        await access.directory.find(house.domain.name)


async def test_memory_does_not_grow_with_domains(access: Access) -> None:
    small = DomainDirectory(access.database, access.clock, capacity=3)
    for _ in range(6):
        await small.find((await new_tenant(access.owner)).domain)
    for number in range(6):
        with pytest.raises(NotFound):
            await small.find(f"no{number}.example")
    assert len(small._known) == len(small._unknown) == 3  # pyright: ignore[reportPrivateUsage]
