"""Probes visit all of a few domains, and a sample of many."""

import secrets
from pathlib import Path

import msgspec

from support.access import House
from troth.access.ownership import NameServers
from troth.access.tenancy import NewDomain, Tenancy
from troth.core.db import Database
from troth.core.reach import PublicFace
from troth.wiring.declaration import PROBE_DOMAIN
from troth.wiring.sampling import MOST, sample

FACE = PublicFace(
    address="127.0.0.1", https_port=8443, http_port=8080, domains=("a.example", PROBE_DOMAIN), ca=Path("/ca")
)


async def test_a_round_visits_a_bounded_sample_and_says_of_how_many(
    house: House, owner_database: Database, auditor_database: Database
) -> None:
    tenancy, mark = Tenancy(owner_database, frozenset({"portal"}), NameServers()), secrets.token_hex(4)
    names = [f"s{number}-{mark}.localhost" for number in range(200)]
    await tenancy.add_local_domains(house.tenant.slug, "portal", names)
    await tenancy.add_domain(NewDomain(name=f"{mark}.org", tenant=house.tenant.slug, app="portal"))
    seen = await sample(FACE, auditor_database, acme=False)
    assert len(seen.domains) == 2 + MOST
    assert seen.served >= 202
    assert f"{mark}.org" not in seen.domains  # its owner is not proved: it does not serve
    assert seen.visited == f"{2 + MOST} of {seen.served:,} domains, chosen at random"
    assert (await sample(FACE, auditor_database, acme=False)).domains != seen.domains


async def test_of_many_declared_domains_some_are_visited_and_the_probes_own_always(
    auditor_database: Database,
) -> None:
    many = msgspec.structs.replace(FACE, domains=(*(f"d{n}.example" for n in range(100)), PROBE_DOMAIN))
    seen = await sample(many, auditor_database, acme=True)
    declared = {name for name in seen.domains if name in many.domains}
    assert len(declared) == MOST + 1
    assert PROBE_DOMAIN in declared


def test_a_few_are_all_visited() -> None:
    assert FACE.visited == "2 domains"
