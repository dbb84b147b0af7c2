"""The keeper's process: `python -m troth.platform LAUNCH`, started by `troth up`."""

import logging
import sys

from troth.hosting.keeper import run_keeper
from troth.wiring.platform import build

if __name__ == "__main__":
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request would drown the rest
    sys.exit(run_keeper(sys.argv[1:], build))
