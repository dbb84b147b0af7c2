"""Makes the environment of a program that wants other packages than ours: `python tools/peer.py FOLDER`.

FOLDER/requirements.lock says what is in FOLDER/.venv, hash by hash. Run by .venv's own Python.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from environment import pip


def main() -> int:
    place = Path(sys.argv[1]).resolve()
    made, growing = place / ".venv", place / ".venv.new"
    print(f"Making {sys.argv[1]}/.venv", flush=True)
    venv.create(growing, clear=True, with_pip=False, symlinks=True)
    words = ("install", "--no-deps", "--require-hashes", "--requirement", str(place / "requirements.lock"))
    try:
        pip("--python", str(growing / "bin" / "python"), *words)
    except subprocess.CalledProcessError as failure:
        print(f"Could not make {made}: {failure}", file=sys.stderr)
        return 1
    shutil.rmtree(made, ignore_errors=True)
    growing.rename(made)
    (made / "pyvenv.cfg").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
