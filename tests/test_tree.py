"""What has to be true of every file in git: no mirror's address, nobody's machine, no giants."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 400

MIRROR = re.compile(
    r"https?://[^\s\"'<>]*(?:artifact|nexus|jfrog|/simple/|devpi|pkg\.dev|verdaccio|codeartifact)"
    r"|https?://(?:registry|files|deb|packages)\.[\w.-]+"
    r"|--(?:extra-)?index-url|--find-links|\"resolved\":",
    re.IGNORECASE,
)
MACHINE = re.compile(
    r"(?<![\w.$~}/-])/(?:home|Users|root|work|mnt|media)/(?!me\b)[\w.-]+/?"  # /home/me is anybody
    r"|file:///(?:home|Users|root|work|opt|mnt|srv|tmp)/"
)
SECRET = re.compile(r"-----BEGIN (?:EC |RSA |ENCRYPTED )?PRIVATE KEY-----\s*\n[A-Za-z0-9+/=\s]{60,}")

FAULTS = {
    "names a package mirror or registry": MIRROR,
    "names a place on one machine": MACHINE,
    "holds a private key": SECRET,
}


def tracked() -> Iterator[Path]:
    """The files that git knows and that are there."""
    try:
        argv = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]  # the checkout may be someone else's
        listed = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            yield ROOT / name


def faults_in(text: str) -> Iterator[str]:
    """Each line that git should not hold, as `line: what: text`."""
    for what, pattern in FAULTS.items():
        for found in pattern.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{line}: {what}: {found.group().splitlines()[0][:80]}"


def read_text(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def test_no_file_names_a_mirror_or_a_machine_or_holds_a_key() -> None:
    faults = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in tracked()
        if path != Path(__file__) and (text := read_text(path)) is not None
        for fault in faults_in(text)
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_no_python_file_is_a_giant() -> None:
    lengths = {path: path.read_text().count("\n") for path in tracked() if path.suffix == ".py"}
    giants = [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines >= LONGEST]
    assert not giants, f"files of {LONGEST} lines and more:\n" + "\n".join(giants)


def test_every_requirement_is_pinned_by_hash() -> None:
    names = sorted(str(path.relative_to(ROOT)) for path in tracked() if path.suffix == ".lock")
    assert names == [
        "bench/peers/django_toolkit/requirements.lock",
        "requirements-dev.lock",
        "requirements.lock",
        "tests/peers/sslyze/requirements.lock",
    ]
    for name in names:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        loose = [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin]
        assert pins
        assert not loose, f"{name}: not pinned by hash: {loose[:3]}"


@pytest.mark.parametrize(
    "text",
    [
        "--index-url https://mirror.example/simple/",
        'x\n"resolved": "https://registry.example/a/-/a-1.tgz"',
        "see /home/ann/troth/README.md",
        'path = "/work/there/x"',
        "-----BEGIN PRIVATE KEY-----\n" + "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg" * 2,
    ],
)
def test_a_planted_fault_is_found(text: str) -> None:
    assert list(faults_in(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://www.rfc-editor.org/rfc/rfc9700",
        "the state folder is ~/.local or $HOME/work/x",
        "GET /work HTTP/1.1",
        'root = tmp_path / "home" / "ann"',
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_an_innocent_line_passes(text: str) -> None:
    assert list(faults_in(text)) == []
