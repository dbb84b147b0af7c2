"""Which domains a probe visits: all of a few, a random sample of many, and it says so."""

import random

import msgspec

from troth.core.db import Database
from troth.core.hostname import LOCAL_SUFFIXES
from troth.core.reach import PublicFace
from troth.wiring.declaration import PROBE_DOMAIN

MOST = 25
"""Domains of troth.toml, and as many of those added since, in one round of probes."""


async def sample(face: PublicFace, auditor: Database, *, acme: bool) -> PublicFace:
    """The face with the domains to visit. With `acme`, only local names of the added ones: the visitor trusts
    the platform's own authority and no other."""
    row = await auditor.fetchrow(
        "with served as (select d.name from troth.domain d join troth.tenant t on t.id = d.tenant_id"
        " where d.added and d.state = 'active' and t.active)"
        " select (select count(*) from served) as total, array(select name from served"
        " where not $1 or reverse(split_part(reverse(name), '.', 1)) = any($2) order by random() limit $3)"
        " as chosen",
        acme,
        list(LOCAL_SUFFIXES),
        MOST,
        idempotent=True,
    )
    assert row is not None, "counts are always there"
    others = [name for name in face.domains if name != PROBE_DOMAIN]
    declared = others if len(others) <= MOST else random.sample(others, MOST)
    return msgspec.structs.replace(
        face, domains=(*declared, PROBE_DOMAIN, *row["chosen"]), served=len(face.domains) + row["total"]
    )
