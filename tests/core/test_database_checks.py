"""[database] with hosts elsewhere: each fault is told at `plan`, and nothing that was pasted is repeated."""

import pytest

from support.configuration import MINIMAL, Load, all_faults

ELSEWHERE = """
[database]
hosts = ["10.0.0.1:5432", "db-2.example:5432"]
regions = ["DE", "FI"]
certificates = "database"
"""


def test_hosts_elsewhere_are_read(load: Load) -> None:
    database = load(MINIMAL + ELSEWHERE).database
    assert database.hosts == ("10.0.0.1:5432", "db-2.example:5432")
    assert database.certificates is not None
    assert database.certificates.is_absolute()


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        ('"db-2.example:5432"', '"db-2.example"', "database.hosts[1]"),
        ('"db-2.example:5432"', '"db-2.example:0"', "database.hosts[1]"),
        ('"db-2.example:5432"', '"db-2.example:70000"', "database.hosts[1]"),
        ('"db-2.example:5432"', '"postgres://troth:hunter2@db-2.example:5432"', "database.hosts[1]"),
        ('"db-2.example:5432"', '"10.0.0.1:5432"', "database.hosts"),
        ('["DE", "FI"]', '["DE"]', "database.regions"),
        ('certificates = "database"', "", "database.certificates"),
        ('hosts = ["10.0.0.1:5432", "db-2.example:5432"]', "", "database.regions"),
        ('certificates = "database"', 'password = "hunter2"', "database.password"),
    ],
)
def test_a_fault_is_told_with_its_key_and_without_a_password(
    load: Load, good: str, bad: str, key: str
) -> None:
    faults = all_faults(load, MINIMAL + ELSEWHERE.replace(good, bad))
    assert key in [fault.key for fault in faults]
    assert not any("hunter2" in fault.public + fault.hint for fault in faults)
