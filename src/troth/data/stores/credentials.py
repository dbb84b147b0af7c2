"""Who Troth is to a backup store, as its owner's file says."""

from typing import Final

import msgspec

from troth.core.secret import Secret
from troth.data.stores.store import StoreError

_KEY_START: Final = b"-----BEGIN "


class AccessKey(msgspec.Struct, frozen=True):
    """For S3."""

    id: str
    secret: Secret
    session_token: str = ""


def access_key(credentials: Secret | None) -> AccessKey:
    """The key pair in a file as the AWS tools have it. Raises StoreError when it is not there.

    Two lines are enough: `access_key_id = …` and `secret_access_key = …`; `aws_` before them and a line with
    a profile's name are read over, a second profile is not expected.
    """
    found: dict[str, str] = {}
    for line in (credentials.reveal() if credentials else b"").decode(errors="replace").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name.strip().lower().removeprefix("aws_"), value.strip())
    if not (found.get("access_key_id") and found.get("secret_access_key")):
        raise StoreError(
            "There are no credentials for the S3 store.",
            hint="Name a file in [backup] credentials that holds access_key_id = … and secret_access_key = …",
        )
    secret = Secret(found["secret_access_key"].encode())
    return AccessKey(found["access_key_id"], secret, found.get("session_token", ""))


def is_private_key(credentials: Secret) -> bool:
    """Whether it is an SSH private key; otherwise it is a password."""
    return credentials.reveal().lstrip().startswith(_KEY_START)
