"""A consensus store (etcd) that somebody else runs: `[consensus]` of `hosts.toml`, checked.

[consensus]
endpoints = ["https://etcd-1.example.net:2379", "https://etcd-2.example.net:2379", "https://etcd-3.example.net:2379"]
regions = ["DE", "DE", "FI"]
ca = "etcd/ca.pem"
certificate = "etcd/client.pem"
key = "etcd/client.key"

The three files are read where hosts are enrolled, and carried to each host in its bundle.
"""

import re
import ssl
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from troth.core.ca import read_certificate
from troth.core.errors import ConfigError, PlatformError
from troth.core.faults import Faults
from troth.core.files import read_up_to
from troth.core.leader import client_context
from troth.core.process import Endpoint
from troth.core.secret import Secret, read_secret
from troth.data.places import foreign_region
from troth.data.residency import check_region

LEAST, MOST = 3, 9
"""One node survives nothing, and of two neither decides without the other."""

MAX_FILE_BYTES = 64 * 1024

_KEY = "consensus"
_FILES = ("ca", "certificate", "key")
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


class ExternalStore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the nodes of the store answer, and where they stand. Under `name` this set keeps its state there:
    two sets in one store need two names. The files are those of the authority's certificate, and of what the
    hosts show; on a host they are empty, for there they lie beside its other certificates."""

    endpoints: tuple[str, ...]
    regions: tuple[str, ...]
    ca: str
    certificate: str
    key: str
    name: str = "troth"

    @property
    def nodes(self) -> tuple[Endpoint, ...]:
        """Host and port of each."""
        return tuple(_endpoint(text) for text in self.endpoints)

    def carried(self) -> "ExternalStore":
        """As a bundle has it: the names of files mean nothing elsewhere."""
        return msgspec.structs.replace(self, ca="", certificate="", key="")


class StoreFiles(msgspec.Struct, frozen=True):
    """What is shown to the store and what it is known by, PEM. The key does not show itself."""

    ca: str
    certificate: str
    key: Secret


def check_store(store: ExternalStore, faults: Faults) -> None:
    """Note every fault of the table, but for what its files hold."""
    _check_endpoints(store, faults)
    _check_regions(store, faults)
    if not _NAME.fullmatch(store.name):
        hint = "Use small letters, digits and hyphens, beginning with a letter."
        faults.add((_KEY, "name"), "This cannot be the name of a set.", hint)
    for key in _FILES:
        if not getattr(store, key):
            faults.add((_KEY, key), "No file is named.", f'Write {key} = "etcd/{key}.pem".')


def _check_endpoints(store: ExternalStore, faults: Faults) -> None:
    count = len(store.endpoints)
    if not LEAST <= count <= MOST:
        said = f"There are {count} endpoints; a store that survives the loss of a node has {LEAST} to {MOST}."
        faults.add((_KEY, "endpoints"), said, "Name every node by itself, and no balancer in front of them.")
    seen: set[str] = set()
    for index, text in enumerate(store.endpoints):
        path = (_KEY, "endpoints", index)
        if text in seen:
            faults.add(path, "This endpoint stands here twice.", "Name each node once.")
        elif fault := _fault_of(text):
            faults.add(path, fault, 'Write it like "https://etcd-1.example.net:2379".')
        seen.add(text)


def _fault_of(text: str) -> str:
    """What is wrong with an endpoint, in a sentence that does not repeat it: it could hold a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "This is no endpoint."
    if parts.scheme != "https":
        return "This endpoint is not https: the store is spoken to over mutual TLS alone."
    if parts.username is not None or parts.password is not None:
        return "An endpoint has no user and no password: the client certificate is shown instead."
    if not _HOST.fullmatch(parts.hostname or ""):
        return "This endpoint has no host; IPv6 is not supported."
    if not port or parts.path or parts.query or parts.fragment:
        return "An endpoint is a host and a port, and nothing else."
    return ""


def _check_regions(store: ExternalStore, faults: Faults) -> None:
    if len(store.regions) != len(store.endpoints):
        said = f"There are {len(store.regions)} regions for {len(store.endpoints)} endpoints."
        faults.add((_KEY, "regions"), said, "Name the region of each, in the same order.")
        return
    for index, (text, region) in enumerate(zip(store.endpoints, store.regions, strict=True)):
        try:
            place = check_region(region)
        except ConfigError as error:
            faults.add((_KEY, "regions", index), error.public, error.hint, promise=error.promise)
            continue
        if not _fault_of(text) and (foreign := foreign_region(_endpoint(text).host, place)):
            said = f"Its address names {foreign}, but {place} was declared."
            hint = "Correct the address or the region, whichever is wrong."
            faults.add((_KEY, "regions", index), said, hint, promise="data.residency")


def read_store_files(store: ExternalStore, now: datetime) -> StoreFiles:
    """What the three files hold. Raises ConfigError for one that is missing, can be read by others (the key),
    is no certificate or has ended, and for a key that is not that of the certificate."""
    ca, certificate = _read_public(store, "ca"), _read_public(store, "certificate")
    file = Path(store.key)
    try:
        key = read_secret(file)
    except PlatformError as error:
        raise _refusal("key", error.public, error.hint if file.exists() else _bring("key")) from None
    except OSError as error:
        raise _refusal("key", f"{file} cannot be read ({type(error).__name__}).", _bring("key")) from None
    for name, pem in (("ca", ca), ("certificate", certificate)):
        _check_certificate(name, Path(getattr(store, name)), pem, now)
    if b"ENCRYPTED" in key.reveal():
        raise _refusal("key", f"{file} is encrypted.", "Nobody could type its passphrase: decrypt it.")
    try:
        client_context(Path(store.ca), Path(store.certificate), file)
    except ssl.SSLError:
        said = f"{file} is not the key of {store.certificate}."
        raise _refusal("key", said, _bring("key")) from None
    return StoreFiles(ca.decode(), certificate.decode(), key)


def _read_public(store: ExternalStore, name: str) -> bytes:
    file = Path(getattr(store, name))
    try:
        content = read_up_to(file, MAX_FILE_BYTES)
        if len(content) > MAX_FILE_BYTES:
            raise _refusal(name, f"{file} is larger than {MAX_FILE_BYTES // 1024} KiB.", _bring(name))
        return content
    except OSError as error:
        raise _refusal(name, f"{file} cannot be read ({type(error).__name__}).", _bring(name)) from None


def _check_certificate(name: str, file: Path, pem: bytes, now: datetime) -> None:
    try:
        ends = read_certificate(pem).not_after
        pem.decode("ascii")
    except ValueError:
        raise _refusal(name, f"{file} holds no certificate (PEM).", _bring(name)) from None
    if now >= ends:
        raise _refusal(name, f"The certificate {file} ended on {ends.date()}.", _bring(name))


def _bring(name: str) -> str:
    whose = "the store's authority" if name == "ca" else "a client that the store lets in"
    return f"Bring {'the certificate' if name != 'key' else 'the key'} of {whose}, PEM."


def _refusal(name: str, public: str, hint: str) -> ConfigError:
    return ConfigError(public, key=f"{_KEY}.{name}", hint=hint)


def _endpoint(text: str) -> Endpoint:
    parts = urlsplit(text)
    return Endpoint(parts.hostname or "", parts.port or 0)
