"""Reading the kernel's tables of sockets."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from troth.core.process import Endpoint
from troth.hosting import network, processes
from troth.hosting.network import answering, parse_address, parse_table

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0
   1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 12346 1 0
"""


def test_only_listening_rows_count() -> None:
    assert parse_table(TABLE, "0A") == ((Endpoint("127.0.0.1", 8080), "12345"),)


def test_addresses_of_both_families_are_read() -> None:
    assert parse_address("00000000:01BB") == Endpoint("0.0.0.0", 443)  # noqa: S104
    assert parse_address("00000000000000000000000001000000:0050") == Endpoint("::1", 80)
    assert parse_address("0000000000000000FFFF00000100007F:0050") == Endpoint("127.0.0.1", 80)


def test_a_listener_of_the_platform_is_found_with_its_program(tmp_path: Path) -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1]); input()"
    environment = {**os.environ, processes.MARK: processes.mark(tmp_path, "toy", 1)}
    with (
        socket.create_server(("127.0.0.1", 0)),
        subprocess.Popen(
            (sys.executable, "-u", "-c", code),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        port = int(process.stdout.readline())
        found = network.listeners(tmp_path)
        process.kill()
    assert [one.endpoint for one in found] == [Endpoint("127.0.0.1", port)]
    assert (found[0].protocol, found[0].process.startswith("python")) == ("tcp", True)


async def test_a_port_that_something_leads_out_of_loopback_is_found_from_the_public_side() -> None:
    """127.0.0.2 stands for the public address."""
    with socket.create_server(("127.0.0.1", 0)) as private, socket.create_server(("127.0.0.2", 0)) as led_out:
        hidden, shown = private.getsockname()[1], led_out.getsockname()[1]
        seen = await answering(("127.0.0.2",), (hidden, shown))
    assert seen.answered == (Endpoint("127.0.0.2", shown),)
