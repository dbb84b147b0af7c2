"""A customer and a domain are added to a running platform as an operator types it, and are gone again."""

import json
from typing import Any

import httpx
import pytest

from support.platform import Troth, troth, until
from troth.core.reach import Visitor

SLUG, NAME = "birkenhof", "portal.birkenhof.localhost"


def typed(platform: Troth, *words: str) -> dict[str, Any]:
    """What a verb of administration answers, for programs."""
    done = troth(*words, "--json", "--state", platform.state.root)
    assert done.status == 0, done.errors
    return json.loads(done.output)


async def status_of(platform: Troth, path: str) -> int:
    async with Visitor(platform.face) as visitor:
        return (await visitor.request("GET", NAME, path)).status_code


async def test_a_customer_and_its_domain_come_and_go_while_the_platform_runs(platform: Troth) -> None:
    with pytest.raises(httpx.ConnectError):
        await status_of(platform, "/login")  # no certificate for a name that nobody knows
    typed(platform, "tenant", "add", SLUG, "--name", "Birkenhof Verwaltung")
    added = typed(platform, "domain", "add", NAME, "--tenant", SLUG, "--colour", "#14532d")
    assert (added["state"], added["tenant"]) == ("active", SLUG)

    async def serves() -> int | None:
        try:
            return await status_of(platform, "/login")
        except httpx.ConnectError:
            return None

    await until(serves, lambda status: status == 200, seconds=20, what="the new domain serves")
    assert await status_of(platform, "/") == 401  # its application is behind the question whose session it is
    assert [one["name"] for one in typed(platform, "domain", "list", "--tenant", SLUG)["domains"]] == [NAME]

    wrong = troth("domain", "add", NAME, "--tenant", SLUG, "--state", platform.state.root)
    assert (wrong.status, "already" in wrong.errors) == (2, True)

    typed(platform, "tenant", "suspend", SLUG)
    await until(serves, lambda status: status == 404, seconds=20, what="a suspended customer is not served")
    typed(platform, "tenant", "resume", SLUG)
    await until(serves, lambda status: status == 200, seconds=20, what="the customer is served again")
    typed(platform, "domain", "remove", NAME)
    await until(serves, lambda status: status == 404, seconds=20, what="a removed domain is not served")
