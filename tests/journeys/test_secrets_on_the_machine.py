"""What another program of this machine may see of a running platform: no password, no key, no token."""

import base64
import json
import stat
from pathlib import Path

from support.person import signed_in
from support.platform import ANNA, RESIDENTS, Troth

READABLE = {"version"}
"""What nobody need hide: the version of the folder's layout. Certificates (`*.pem`) are public too."""


def spellings(secret: bytes) -> set[bytes]:
    """A secret as itself, in hexadecimal and in base64."""
    return {
        secret,
        secret.hex().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
    }


async def test_no_secret_stands_in_arguments_environments_or_logs(platform: Troth) -> None:
    async with signed_in(platform, ANNA) as anna:
        # The cookie, the token and the password have all been through edge, instance and database.
        assert (await anna.get("/tickets")).status_code == 200
        assert (await anna.call("GET", "tickets")).status_code == 200
        code_address = "/oauth/authorize?client_id=ledger&code=very-secret-code&state=very-secret-state"
        await anna.get(code_address)
        secrets = {
            "root key": platform.state.root_key.read_bytes(),
            "cookie": anna.cookie.encode(),
            "token": anna.token.encode(),
            "signature of the token": anna.token.rpartition(".")[2].encode(),
            "code in an address": b"very-secret-code",
        }
        signins: dict[str, str] = json.loads(platform.state.signins.read_text())
        secrets |= {f"password of {name}": password.encode() for name, password in signins.items()}
        assert len(signins) >= 4
        needles = {name: spellings(secret) for name, secret in secrets.items()}

        places = {
            f"{kind} of {one.pid}": Path(f"/proc/{one.pid}/{kind}")
            for one in platform.living()
            for kind in ("cmdline", "environ")
        }
        assert len(places) > 40
        logs = [path for path in platform.state.logs.rglob("*") if path.is_file()]
        assert any(RESIDENTS.encode() in path.read_bytes() for path in logs)
        places |= {str(path): path for path in logs}
        found = [
            f"{name} in {place}"
            for place, path in places.items()
            for name, wanted in needles.items()
            if any(needle in _read(path) for needle in wanted)
        ]
    assert found == []


async def test_nobody_else_may_read_the_state_folder(platform: Troth) -> None:
    open_to_others: list[str] = []
    assert stat.S_IMODE(platform.state.root.stat().st_mode) == 0o700
    for path in platform.state.root.rglob("*"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        public = path.suffix == ".pem" or path.name in READABLE
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077 and not public:
            open_to_others.append(f"{path.relative_to(platform.state.root)} {stat.filemode(mode)}")
    assert open_to_others == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
