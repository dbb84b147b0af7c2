"""The edge's administration socket: who may use it, what is kept, what a refusal leaves behind."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from support.edge import World, running_world
from support.waiting import until_answered
from troth.core.errors import PlatformError
from troth.hosting.edge import render
from troth.hosting.edge_admin import EdgeAdmin, caddy_binary, config_file, lags, start_spec


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


async def test_a_refused_configuration_leaves_the_old_one_running_and_kept(world: World) -> None:
    kept = config_file(world.state).read_bytes()
    broken = render(world.state)
    broken["apps"]["http"]["servers"]["public"]["routes"].append({"handle": [{"handler": "no_such_thing"}]})
    with pytest.raises(PlatformError, match="no_such_thing"):
        await world.admin.load(broken)
    assert config_file(world.state).read_bytes() == kept
    async with world.browser() as browser:
        assert (await browser.get("/login")).status_code == 200


async def test_an_accepted_configuration_is_served_and_kept_for_the_next_start(world: World) -> None:
    shrunk = msgspec.structs.replace(world.state, web=world.state.web[:1])
    await world.admin.load(render(shrunk))
    try:
        assert msgspec.json.decode(config_file(world.state).read_bytes()) == render(shrunk)
        assert len(await world.admin.upstreams()) == 3
        async with world.browser() as browser:
            names = {(await browser.get("/login")).json()["name"] for _ in range(10)}
        assert names == {"web-0"}
    finally:
        await world.admin.load(render(world.state))


async def test_a_renewed_certificate_is_served_after_a_forced_load_of_the_same(world: World) -> None:
    async def serial() -> str:
        _, writer = await asyncio.open_connection(
            "127.0.0.1",
            world.state.https_port,
            ssl=world.trust(),
            server_hostname=world.state.domains[0].name,
        )
        certificate = writer.get_extra_info("ssl_object").getpeercert()
        writer.transport.abort()
        return certificate["serialNumber"]

    before = await serial()
    world.authorities.domain(world.state.domains[0].name, "portal")
    await world.admin.load(render(world.state))
    assert await serial() == before
    await world.admin.load(render(world.state), force=True)
    assert await serial() != before


async def test_an_edge_that_runs_lags_behind_another_configuration_and_a_renewed_certificate(
    world: World,
) -> None:
    await world.admin.load(render(world.state), force=True)
    assert not lags(world.state)
    assert lags(msgspec.structs.replace(world.state, web=world.state.web[:1]))
    world.authorities.domain(world.state.domains[0].name, "portal")
    assert lags(world.state)
    await world.admin.load(render(world.state), force=True)
    assert not lags(world.state)


async def test_instances_are_listed_with_their_health(world: World) -> None:
    upstreams = await world.admin.upstreams()
    places = {str(place) for place in (*world.state.web, *world.state.apps[0].instances)}
    assert {upstream.address for upstream in upstreams} == places
    assert all(upstream.healthy is not False for upstream in upstreams)


async def test_the_socket_and_the_kept_configuration_are_the_owners_alone(world: World) -> None:
    assert stat.S_IMODE(world.state.admin_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(config_file(world.state).stat().st_mode) == 0o600


async def test_a_request_that_does_not_name_our_origin_is_refused(world: World) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(world.state.admin_socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for origin in ({}, {"Origin": "http://localhost"}, {"Origin": "https://evil.example"}):
            assert (await client.get("/config/", headers=origin)).status_code == 403


async def test_the_edge_listens_where_it_should_and_nowhere_else(world: World) -> None:
    edge = psutil.Process(world.processes["edge"].pid)
    sockets = {
        (connection.type.name, connection.laddr.port)
        for connection in edge.net_connections()
        if connection.status in ("LISTEN", "NONE")
    }
    https, http, private = world.state.https_port, world.state.http_port, world.state.private.endpoint.port
    expected = {
        ("SOCK_STREAM", https),
        ("SOCK_DGRAM", https),
        ("SOCK_STREAM", http),
        ("SOCK_STREAM", private),
    }
    assert sockets == expected
    assert {c.laddr.ip for c in edge.net_connections()} == {"127.0.0.1"}


async def test_the_edge_makes_no_authority_and_keeps_nothing_but_its_configuration(world: World) -> None:
    kept = sorted(str(path.relative_to(world.state.storage)) for path in world.state.storage.rglob("*"))
    assert "caddy.json" in kept
    assert not [name for name in kept if "pki" in name or "certificates" in name or "autosave" in name]


async def test_an_edge_killed_on_the_spot_starts_again_on_the_same_socket(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        world.kill("edge")
        world.run_edge(start_spec(world.state, binary=caddy_binary(), log=tmp_path / "again.out"))

        async def knows_every_place() -> bool:
            """Its socket answers while it still reads its configuration."""
            try:
                return len(await world.admin.upstreams()) == 4
            except PlatformError:
                return False

        await until_answered(knows_every_place)


async def test_an_edge_that_is_not_there_is_a_platform_error(tmp_path: Path) -> None:
    admin = EdgeAdmin(tmp_path / "none.sock", tmp_path / "caddy.json")
    with pytest.raises(PlatformError, match="does not answer"):
        await admin.upstreams()
    await admin.close()
