"""`keys.*`: the signing keys of each client domain."""

import msgspec

from troth.access.signing import AHEAD, KeyState, SigningKeys
from troth.access.tenants import Domain, DomainDirectory
from troth.core.clock import to_wire
from troth.core.errors import NotFound, UsageError
from troth.wiring.administration.office import Answer, Tools, Verb


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One domain, or all of them."""

    domain: str = ""


class Rotating(msgspec.Struct, frozen=True, kw_only=True):
    """One domain, or all of them. `compromised` drops the keys of before at once."""

    domain: str = ""
    compromised: bool = False


async def _list(tools: Tools, asked: Listing) -> Answer:
    keys = SigningKeys(tools.app, tools.sealer, tools.clock)
    domains = await _domains(tools, asked.domain)
    return {"keys": [_tell(domain, key) for domain in domains for key in await keys.states(domain)]}


async def _rotate(tools: Tools, asked: Rotating) -> Answer:
    keys = SigningKeys(tools.app, tools.sealer, tools.clock)
    domains = await _domains(tools, asked.domain)
    for domain in domains:
        await (keys.replace(domain) if asked.compromised else keys.rotate(domain))
    seconds = 0 if asked.compromised else int(AHEAD.total_seconds())
    return {"rotated": [domain.name for domain in domains], "signs_in_seconds": seconds}


async def _domains(tools: Tools, name: str) -> list[Domain]:
    """Raises UsageError when there is none of this name."""
    directory = DomainDirectory(tools.app, tools.clock)
    rows = await tools.owner.fetch("select name from troth.domain order by name")
    names = [name] if name else [row["name"] for row in rows]
    try:
        return [await directory.find(each) for each in names]
    except NotFound:
        raise UsageError(f"There is no domain {name[:60]!r}.", hint="See: troth domain list") from None


def _tell(domain: Domain, key: KeyState) -> Answer:
    return {
        "domain": domain.name,
        "kid": key.kid,
        "state": key.state,
        "signs_from": to_wire(key.signs_from),
        "retired_at": to_wire(key.retired_at) if key.retired_at else None,
    }


VERBS = (Verb("keys.list", Listing, _list), Verb("keys.rotate", Rotating, _rotate))
