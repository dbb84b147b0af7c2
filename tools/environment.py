"""Makes .venv from requirements-dev.lock, hash by hash: `python3 tools/environment.py`.

Needs nothing but Python's standard library. pip comes from Python's own ensurepip; where Debian has left it
out, from Debian's pip wheel, unpacked without being installed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from apt import Apt, AptFailed

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
STAMP = VENV / "made-from.json"
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BOOTSTRAP = ("pip", "setuptools")


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 — this file is what tells a person with an older Python
        print(f"Troth needs Python 3.11 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    wanted = fingerprint()
    try:
        if made_from().get("lock") != wanted["lock"]:
            install_lock()
        if made_from() != wanted:
            pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    except (AptFailed, subprocess.CalledProcessError) as failure:
        print(f"Could not make .venv: {failure}", file=sys.stderr)
        return 1
    STAMP.write_text(json.dumps(wanted))
    return 0


def fingerprint() -> dict[str, str]:
    """What the environment follows from. Its own place counts: a copied environment does not work."""
    lock = hashlib.sha256(LOCK.read_bytes() + sys.version.encode() + str(VENV).encode())
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    return {"lock": lock.hexdigest(), "project": project.hexdigest()}


def made_from() -> dict[str, str]:
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def install_lock() -> None:
    """A new environment with exactly what the lock names. The old one goes first, and its stamp with it."""
    print("Making .venv from requirements-dev.lock (half a minute)", flush=True)
    venv.create(VENV, clear=True, with_pip=False, symlinks=True)
    install_pip()
    pip("install", "--require-hashes", "--no-build-isolation", "--requirement", str(LOCK))


def install_pip() -> None:
    """The pip and setuptools that the lock names, by way of whichever pip can be had here.

    setuptools goes first because a package that comes as source is built with it, and the hash-checked one
    has to be used rather than whatever an isolated build would fetch.
    """
    bootstrap = VENV / "bootstrap.lock"
    bootstrap.write_text("".join(locked(name) for name in BOOTSTRAP))
    words = ("install", "--require-hashes", "--no-deps", "--requirement", str(bootstrap))
    if subprocess.run([python(), "-m", "ensurepip"], capture_output=True, check=False).returncode == 0:
        pip(*words)
    else:
        pip(*words, program=str(debian_pip() / "pip"))


def locked(name: str) -> str:
    """The lines of the lock for one package: its version and its hashes."""
    lines = LOCK.read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next(i for i in range(start, len(lines)) if not lines[i].rstrip().endswith("\\"))
    return "".join(lines[start : end + 1])


def debian_pip() -> Path:
    """A folder that is a pip: Debian's wheel, the system's or one unpacked here, runs where it lies."""
    part = "usr/share/python-wheels"
    here = sorted(Path("/", part).glob("pip-*.whl"))
    wheels = here or sorted((unpacked("python3-pip-whl", part) / part).glob("pip-*.whl"))
    if not wheels:
        raise AptFailed("Debian's python3-pip-whl holds no pip wheel")
    return wheels[-1]


def pip(*words: str, program: str | None = None) -> None:
    start = [program] if program else ["-m", "pip"]
    argv = [python(), *start, "--quiet", "--quiet", "--disable-pip-version-check", "--no-input", *words]
    subprocess.run(argv, env=environment(), check=True)


def python() -> str:
    return str(VENV / "bin" / "python")


def environment() -> dict[str, str]:
    """Ours, without what would lead pip past the new environment, and with certificates to trust."""
    misleading = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in misleading}
    if not SYSTEM_CERTIFICATES.exists() and "PIP_CERT" not in kept:
        kept["PIP_CERT"] = str(debian_certificates())
    return kept


def debian_certificates() -> Path:
    """The authorities Debian trusts, for a machine that has none: from its signed package, into one file."""
    bundle = ROOT / ".tools" / "certificates.pem"
    name = "usr/share/ca-certificates"
    if not bundle.exists():
        parts = sorted((unpacked("ca-certificates", name) / name).rglob("*.crt"))
        bundle.write_bytes(b"\n".join(part.read_bytes() for part in parts))
    return bundle


def unpacked(package: str, part: str) -> Path:
    """The folder of one Debian package, fetched now if it is not there yet."""
    tree = ROOT / ".tools" / "debian" / package
    if not (tree / part).is_dir():
        shutil.rmtree(tree, ignore_errors=True)
        Apt(ROOT / ".tools" / "apt").unpack([package], tree, only=True)
    return tree


if __name__ == "__main__":
    sys.exit(main())
