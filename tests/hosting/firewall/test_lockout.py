"""Rules that would lock out whoever applies them are refused."""

import os
import subprocess
import sys

import pytest

from troth.core.errors import UsageError
from troth.hosting.firewall.lockout import refuse_lockout, ways_in
from troth.hosting.firewall.rules import Policy

POLICY = Policy(
    tcp=(80, 443),
    udp=(443,),
    ssh_port=22,
    administrators=("203.0.113.0/24", "2001:db8:7::/48"),
    name_servers=(),
    time_servers=(),
    reached=(),
)


@pytest.mark.parametrize(
    "told",
    [
        "203.0.113.9 50000 192.0.2.1 22",
        "2001:db8:7::5 50000 2001:db8::1 22",
        "::ffff:203.0.113.9 50000 192.0.2.1 22",
        "",
        "UNKNOWN 65535 UNKNOWN 65535x",
    ],
)
def test_who_comes_from_an_administrators_network_or_not_by_ssh_goes_on(told: str) -> None:
    refuse_lockout(POLICY, told)


@pytest.mark.parametrize(
    ("told", "hint"),
    [
        ("198.51.100.9 50000 192.0.2.1 22", 'administrators = ["198.51.100.9"]'),
        ("2001:db8:8::5 50000 2001:db8::1 22", "2001:db8:8::5"),
        ("fe80::1%eth0 50000 fe80::2 22", "fe80::1"),
        ("203.0.113.9 50000 192.0.2.1 2222", "ssh_port = 2222"),
        ("UNKNOWN 65535 UNKNOWN 22", "UNKNOWN"),
    ],
)
def test_who_would_be_locked_out_is_told_what_to_write(told: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_lockout(POLICY, told)
    assert hint in refused.value.hint


def test_the_way_in_is_found_even_where_sudo_has_taken_it_from_the_environment() -> None:
    told = "198.51.100.77 50000 192.0.2.1 22"
    script = "from troth.hosting.firewall.lockout import ways_in; print(*ways_in(), sep='\\n')"
    inner = ("env", "-u", "SSH_CONNECTION", sys.executable, "-c", script)
    outer = ("sh", "-c", '"$@"; true', "sh", *inner)  # the shell stays above what it starts
    environment = {**os.environ, "SSH_CONNECTION": told}
    done = subprocess.run(outer, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert told in done.stdout.splitlines()
    assert told not in ways_in()
