"""The keeper's process: `python -m troth.platform LAUNCH`, started by `troth up` and `troth member up`."""

import sys

from troth.hosting.keeper import run_keeper
from troth.hosting.plan import Launch, Plan
from troth.hosting.supervisor import Supervisor
from troth.wiring.member import build_member
from troth.wiring.platform import build


async def _build(launch: Launch, supervisor: Supervisor) -> Plan:
    return await (build_member if launch.member else build)(launch, supervisor)


if __name__ == "__main__":
    sys.exit(run_keeper(sys.argv[1:], _build))
