"""One S3 server and one SFTP server for the tests of stores."""

import asyncio
import itertools
from collections.abc import AsyncGenerator

import pytest

from support.s3_server import S3Server
from support.stores import SftpServer

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
async def s3_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        await server.start()
        yield server
    finally:
        await asyncio.to_thread(server.stop)


@pytest.fixture
def bucket() -> str:
    """A name that no other test has."""
    return f"bucket-{next(NUMBERS)}"


@pytest.fixture
async def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[SftpServer]:
    server = SftpServer(tmp_path_factory.mktemp("sftp"))
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
