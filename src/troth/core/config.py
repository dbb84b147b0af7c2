"""`troth.toml`, read once into frozen Settings. `examples/residents/troth.toml` is the documented schema."""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from troth.core.config_checks import check_document
from troth.core.errors import ConfigError
from troth.core.faults import Faults
from troth.core.files import read_up_to
from troth.core.hostname import normalise_host
from troth.core.settings import (
    AlertSettings,
    AppSettings,
    BackupSettings,
    BrandingSettings,
    CertificateSettings,
    ClientSettings,
    CollectionSettings,
    DatabaseSettings,
    Document,
    DomainSettings,
    EdgeSettings,
    MailSettings,
    OutgoingSettings,
    PasswordSettings,
    PlatformSettings,
    RoleSettings,
    ScopeText,
    Settings,
    TenantSettings,
    UserSettings,
    WebSettings,
)
from troth.core.toml_lines import KeyPath, find_lines, nearest_line
from troth.core.toml_shape import read_table

__all__ = [
    "FORMAT_VERSION",
    "MAX_FILE_BYTES",
    "AlertSettings",
    "AppSettings",
    "BackupSettings",
    "BrandingSettings",
    "CertificateSettings",
    "ClientSettings",
    "CollectionSettings",
    "DatabaseSettings",
    "DomainSettings",
    "EdgeSettings",
    "MailSettings",
    "OutgoingSettings",
    "PasswordSettings",
    "PlatformSettings",
    "RoleSettings",
    "ScopeText",
    "Settings",
    "TenantSettings",
    "UserSettings",
    "WebSettings",
    "find_line",
    "load_settings",
]

FORMAT_VERSION = 1

MAX_FILE_BYTES = 1024 * 1024

_SYNTAX_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def load_settings(path: Path) -> Settings:
    """Read and check the file at `path`; nothing is started or written.

    Raises ConfigError with file, line, key and hint. Faults of the syntax, of the shape (keys and types) and
    of the content come one stage at a time; within a stage all are told, the first in the order of the file
    being raised and the rest standing in its `others`.
    """
    file = path.resolve()
    text = _read_text(file)
    table = _parse(text, file)
    faults = Faults(file, find_lines(text))
    _check_version(table, faults)
    document = read_table(table, Document, faults)
    faults.raise_any()
    assert document is not None, "the shape is sound when no fault was noted"
    document = _normalise(document, file.parent, faults)
    check_document(document, faults)
    faults.raise_any()
    return Settings(**msgspec.structs.asdict(document), file=file)


def find_line(file: Path, *path: str | int) -> int | None:
    """The line of a key, for a fault that only another room can see; None when the file has gone.

    `find_line(settings.file, "platform", "region")`.
    """
    try:
        return nearest_line(find_lines(_read_text(file)), path)
    except ConfigError:
        return None


def _read_text(file: Path) -> str:
    try:
        text = read_up_to(file, MAX_FILE_BYTES)
        if len(text) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{file} is larger than {MAX_FILE_BYTES // 1024} KiB.",
                file=file,
                hint="Is this the right file? Name it with --config FILE.",
            )
        return text.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}.",
            file=file,
            hint="Name the file with --config FILE; examples/residents/troth.toml shows what belongs in it.",
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file} is not UTF-8.", file=file, line=line, hint="Save it as UTF-8.") from None


def _parse(text: str, file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        place = _SYNTAX_LINE.search(said)
        raise ConfigError(
            f"This is not TOML: {_SYNTAX_LINE.sub('', said).removesuffix(' (at end of document)')}.",
            file=file,
            line=int(place[1]) if place else text.count("\n") + 1,
            hint=f"Look at column {place[2]} of that line." if place else "The file ends too early.",
        ) from None
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply.", file=file, hint="Nest it less.") from None


def _check_version(table: dict[str, object], faults: Faults) -> None:
    """Before the shape: of another version every key could be another."""
    version = table.get("version", FORMAT_VERSION)
    if type(version) is int and version != FORMAT_VERSION:
        said = f"This file is of version {str(version)[:20]}; this Troth knows version {FORMAT_VERSION}."
        faults.add(("version",), said, f"Install a Troth that knows it, or write version = {FORMAT_VERSION}.")
        faults.raise_any()


def _normalise(document: Document, folder: Path, faults: Faults) -> Document:
    """Paths against the file's folder, domain names in the one form that is compared."""
    return msgspec.structs.replace(
        document,
        database=_resolve(_resolve(document.database, "binaries", folder), "certificates", folder),
        mail=document.mail and _resolve(_resolve(document.mail, "ca", folder), "password_file", folder),
        alerts=_resolve_alerts(document.alerts, folder),
        tracing=document.tracing
        and _resolve(_resolve(document.tracing, "headers_file", folder), "ca", folder),
        passwords=_resolve(document.passwords, "breached", folder),
        acme=document.acme and _resolve(document.acme, "ca", folder),
        outgoing=_resolve(document.outgoing, "ca", folder),
        backup=document.backup and _resolve(_resolve(document.backup, "ca", folder), "credentials", folder),
        apps={name: _resolve(app, "folder", folder) for name, app in document.apps.items()},
        clients={
            name: _resolve(_resolve(client, "jwks", folder), "tls_client_auth_authorities", folder)
            for name, client in document.clients.items()
        },
        collections={
            name: _resolve(collection, "schema", folder) for name, collection in document.collections.items()
        },
        domains=tuple(
            _normalise_domain(domain, ("domains", index), folder, faults)
            for index, domain in enumerate(document.domains)
        ),
    )


def _resolve_alerts(alerts: AlertSettings, folder: Path) -> AlertSettings:
    targets = {
        name: _resolve(_resolve(target, "secret_file", folder), "ca", folder)
        for name, target in alerts.targets.items()
    }
    return msgspec.structs.replace(alerts, targets=targets)


def _normalise_domain(domain: DomainSettings, path: KeyPath, folder: Path, faults: Faults) -> DomainSettings:
    name = domain.name
    try:
        name = normalise_host(name)
    except ValueError as error:
        faults.add((*path, "name"), str(error), 'Write it like "portal.company.example".')
    return msgspec.structs.replace(domain, name=name, branding=_resolve(domain.branding, "logo", folder))


def _resolve(table: _Struct, key: str, folder: Path) -> _Struct:
    value: Path | None = getattr(table, key)
    return table if value is None else msgspec.structs.replace(table, **{key: (folder / value).resolve()})
