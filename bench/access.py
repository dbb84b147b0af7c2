"""What a session check and an access token cost, against the least that each could cost.

`python -m bench.access`. One PostgreSQL over TLS, as `bench.read` uses it. One call at a time: these are
times of single calls, not throughput. Pairs are measured next to each other.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from bench.results import Entry, entry, record  # noqa: E402
from support.access import RESIDENT, Access, House, furnish  # noqa: E402
from support.postgres import Server  # noqa: E402
from troth.access.tokens import Bearer  # noqa: E402
from troth.core.db import Database  # noqa: E402
from troth.core.migrations import migrate  # noqa: E402
from troth.data.postgres import find_binaries  # noqa: E402
from troth.data.roles import APP, AUDITOR, OWNER, SUPERUSER, bootstrap  # noqa: E402

ROUNDS = 9
CALLS = 400

Call = Callable[[], Awaitable[object]]
Pairs = list[tuple[float, float]]


async def microseconds(call: Call) -> float:
    """Of one call, the mean over CALLS of them."""
    began = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return (time.perf_counter() - began) / CALLS * 1e6


async def pair_up(ours: Call, against: Call) -> Pairs:
    """ROUNDS pairs; which of the two goes first alternates."""
    await microseconds(ours)
    await microseconds(against)
    pairs: Pairs = []
    for number in range(ROUNDS):
        if number % 2:
            bare = await microseconds(against)
            pairs.append((await microseconds(ours), bare))
        else:
            first = await microseconds(ours)
            pairs.append((first, await microseconds(against)))
    return pairs


async def measure_session(house: House) -> Entry:
    """From the cookie's token to the living session, against one round trip that asks for nothing."""
    sessions, database = house.access.sessions, house.access.database
    token = (await house.begin()).token
    pairs = await pair_up(
        lambda: sessions.open(house.domain, token, request="bench"), lambda: database.fetchval("select 1")
    )
    return entry("session.check", pairs, aim=3.0, unit="µs", at_least=False)


async def measure_tokens(house: House) -> tuple[Entry, ...]:
    """Minting and verifying, against the bare signature operation on as many bytes."""
    tokens, domain = house.access.tokens, house.domain
    session = (await house.begin()).session.id
    bearer = Bearer(session=session, person=house.person, client="session", scopes=tuple(RESIDENT))
    key = ec.generate_private_key(ec.SECP256R1())
    good = (await tokens.mint(domain, bearer)).token
    signed = good.rpartition(".")[0].encode()
    public, signature = key.public_key(), key.sign(signed, ec.ECDSA(SHA256()))

    async def sign() -> object:
        return key.sign(signed, ec.ECDSA(SHA256()))

    async def verify() -> None:
        public.verify(signature, signed, ec.ECDSA(SHA256()))

    unseen = await _stock(lambda: tokens.mint(domain, bearer))
    minting = await pair_up(lambda: tokens.mint(domain, bearer), sign)
    first = await pair_up(lambda: tokens.verify(domain, next(unseen)), verify)
    again = await pair_up(lambda: tokens.verify(domain, good), verify)
    return (
        entry("token.mint", minting, aim=2.0, unit="µs", at_least=False),
        entry("token.verify", first, aim=1.5, unit="µs", at_least=False),
        entry("token.verify-again", again, aim=0.2, unit="µs", at_least=False),
    )


async def _stock(mint: Callable[[], Awaitable[object]]) -> Iterator[str]:
    """As many different tokens as the rounds will verify."""
    from troth.access.tokens import Minted

    made: list[str] = []
    for _ in range(CALLS * (ROUNDS + 1)):
        minted = await mint()
        assert isinstance(minted, Minted)
        made.append(minted.token)
    return iter(made)


async def measure(server: Server) -> tuple[Entry, ...]:
    """Everything here, on a server that was just started."""
    await (await Database.open(server.target(SUPERUSER, "postgres"))).close()
    await bootstrap(server.target(SUPERUSER, "postgres"))
    await migrate(server.target(OWNER))
    opened = [await Database.open(server.target(role), max_size=2) for role in (APP, OWNER, AUDITOR)]
    database, owner, auditor = opened
    access = Access(database, owner, auditor)
    try:
        house = await furnish(access)
        return (await measure_session(house), *await measure_tokens(house))
    finally:
        access.passwords.close()
        for database in opened:
            await database.close()


def main() -> None:
    """Measure, print, and note the results."""
    with tempfile.TemporaryDirectory(prefix="troth-bench-") as name:
        server = Server(Path(name), find_binaries(None))
        server.initialise()
        server.start()
        try:
            record(*asyncio.run(measure(server)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
