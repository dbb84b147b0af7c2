"""What the shape of `troth.toml` cannot say: names that must match, files that must be sound, ports, colours.

Each check notes its faults and goes on, so that one run tells them all.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from troth.core import branding
from troth.core.alert_checks import check_alerts
from troth.core.database_checks import check_database
from troth.core.document_schema import SchemaFault, property_names, read_schema
from troth.core.faults import Faults, did_you_mean
from troth.core.names import SESSION_CLIENT
from troth.core.network_checks import check_networks
from troth.core.policy import MAX_EMAIL_DOMAINS
from troth.core.registration import RegistrationFault, declared_registration, registration_faults
from troth.core.scope import COLLECTION_NAME, Scope, parse_scope
from troth.core.settings import Document, DomainSettings
from troth.core.toml_lines import KeyPath
from troth.core.tracing_checks import check_tracing_table

RESERVED = ("admin", "me")
"""Names under /api/v1 that no collection can have."""

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TARGET = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_EMAIL = re.compile(r"[^\s@,;<>\"()]{1,64}@[^\s@,;<>\"()]{1,189}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_PREFIX = re.compile(r"/(?:[\w.~!$&'()*+,;=:@-]+/)*(?:[\w.~!$&'()*+,;=:@-]+)?", re.ASCII)
_STORE = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w!.*'()+-]+)*/?"
    r"|file:///[^\x00-\x1f\x7f?#]+"
    r"|sftp://[\w.+-]+@(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/[^\x00-\x1f\x7f?#]+",
    re.ASCII,
)
_TEXT_LIMIT = 120


def check_document(document: Document, faults: Faults) -> None:
    """Note every fault of a document whose paths are resolved and whose domain names are normalised."""
    for check in _CHECKS:
        check(document, faults)


def _check_names(document: Document, faults: Faults) -> None:
    for table in ("tenants", "apps", "roles", "clients"):
        for name in getattr(document, table):
            _check_slug((table, name), name, faults)
    for name in document.collections:
        if not COLLECTION_NAME.fullmatch(name) or name.startswith("troth_"):
            hint = "Use small letters, digits and _, at most 40, beginning with a letter and not with troth_."
            faults.add(("collections", name), "This cannot be the name of a collection.", hint)
        elif name in RESERVED:
            said = f"/api/v1/{name} is the platform's own."
            faults.add(("collections", name), said, "Choose another name for the collection.")
    if SESSION_CLIENT in document.clients:
        faults.add(
            ("clients", SESSION_CLIENT), "No client may be called “session”.", "Choose another client_id."
        )


def _check_slug(path: KeyPath, name: str, faults: Faults) -> None:
    if not _SLUG.fullmatch(name):
        faults.add(path, "This cannot be a short name.", "Use small letters, digits and hyphens, at most 40.")
    elif name.startswith("troth-"):
        faults.add(path, "Short names beginning with troth- are the platform's own.", "Choose another one.")


def _check_policies(document: Document, faults: Faults) -> None:
    for slug, tenant in document.tenants.items():
        path, policy = ("tenants", slug, "policy"), tenant.policy
        if policy.session_idle_minutes > policy.session_absolute_hours * 60:
            said = "A session cannot wait longer without use than it may last."
            faults.add((*path, "session_idle_minutes"), said, "Make it shorter than session_absolute_hours.")
        for role in policy.joining_roles:
            if role not in document.roles:
                hint = did_you_mean(role, document.roles, "Add it under [roles].")
                faults.add((*path, "joining_roles"), f"There is no role “{role}”.", hint)
        for domain in policy.email_domains:
            if not _EMAIL.fullmatch(f"a@{domain}"):
                hint = 'Write what stands after the @, like "company.example".'
                faults.add((*path, "email_domains"), f"“{domain[:80]}” is no e-mail domain.", hint)
        if len(policy.email_domains) > MAX_EMAIL_DOMAINS:
            said = f"There are more than {MAX_EMAIL_DOMAINS} e-mail domains."
            faults.add((*path, "email_domains"), said, "Name fewer; left out, all are admitted.")
        if policy.mail_name:
            _check_text((*path, "mail_name"), policy.mail_name, faults)


def _check_texts(document: Document, faults: Faults) -> None:
    _check_text(("platform", "name"), document.platform.name, faults)
    for slug, tenant in document.tenants.items():
        _check_text(("tenants", slug, "name"), tenant.name, faults)
    for name, client in document.clients.items():
        _check_text(("clients", name, "name"), client.name, faults)
    for index, user in enumerate(document.users):
        _check_text(("users", index, "name"), user.name, faults)
    for index, domain in enumerate(document.domains):
        _check_text(("domains", index, "branding", "name"), domain.branding.name, faults)


def _check_text(path: KeyPath, text: str, faults: Faults) -> None:
    """Names are shown to people and travel in headers: control characters would split a line in two."""
    if not text.strip() or len(text) > _TEXT_LIMIT or not text.isprintable():
        faults.add(path, "This name cannot be shown.", f"Write 1 to {_TEXT_LIMIT} visible characters.")


def _check_something(document: Document, faults: Faults) -> None:
    for table, hint in (
        ("tenants", "Add a [tenants.some-name]."),
        ("domains", "Add a [[domains]] table."),
        ("apps", "Add an [apps.some-name]."),
    ):
        if not getattr(document, table):
            faults.add((table,), f"There are no {table}.", hint)


def _check_edge(document: Document, faults: Faults) -> None:
    edge = document.edge
    try:
        ipaddress.ip_address(edge.address)
    except ValueError:
        faults.add(("edge", "address"), "This is no IP address.", 'Write it like "127.0.0.1" or "::1".')
    https = {edge.https_port} if edge.https_port else {443, 8443}
    http = {edge.http_port} if edge.http_port else {80, 8080}
    if https & http:
        key = "http_port" if edge.http_port else "https_port"
        hint = "Give HTTPS and HTTP different ports; left out, they are 443 or 8443 and 80 or 8080."
        faults.add(("edge", key), "The ports for HTTPS and HTTP are the same.", hint)


def _check_mail(document: Document, faults: Faults) -> None:
    mail, breached = document.mail, document.passwords.breached
    if breached is not None and not breached.is_file():
        faults.add(("passwords", "breached"), "There is no such file.", f"Put it at {breached}.")
    if mail is None:
        return
    if not _HOST.fullmatch(mail.host):
        faults.add(("mail", "host"), "This is no host name.", 'Write it like "smtp.provider.example".')
    if not _EMAIL.fullmatch(mail.sender) or not mail.sender.isascii():
        faults.add(("mail", "sender"), "This is no e-mail address.", 'Write "no-reply@company.example".')
    for key in ("ca", "password_file"):
        file: Path | None = getattr(mail, key)
        if file is not None and not file.is_file():
            faults.add(("mail", key), "There is no such file.", f"Put it at {file}, or leave the key out.")
    if bool(mail.user) != (mail.password_file is not None):
        faults.add(("mail", "user"), "A user needs a password.", "Give user and password_file, or neither.")


def _check_backup(document: Document, faults: Faults) -> None:
    backup = document.backup
    if backup is None:
        return
    scheme = store_scheme(backup.store)
    if scheme is None:
        hint = 'Write "s3://bucket/prefix", "sftp://user@host:22/folder" or "file:///folder".'
        faults.add(("backup", "store"), "This names no store.", hint)
    if scheme in ("s3", "sftp") and not backup.region:
        hint = 'Say where the store stands, like "eu-central-1" or "DE".'
        faults.add(("backup", "region"), "A store elsewhere needs its region.", hint)
    if backup.endpoint and not backup.endpoint.startswith("https://"):
        hint = "Write https://host:port, or leave it out for AWS."
        faults.add(("backup", "endpoint"), "This is no https:// address.", hint)
    for key in ("ca", "credentials"):
        file: Path | None = getattr(backup, key)
        if file is not None and not file.is_file():
            faults.add(("backup", key), "There is no such file.", f"Put it at {file}, or leave the key out.")
    if backup.incremental_minutes > backup.every_hours * 60:
        said = "Increments cannot come less often than full backups."
        faults.add(("backup", "incremental_minutes"), said, "Make it shorter than every_hours; 0 takes none.")


def store_scheme(store: str) -> str | None:
    """`s3`, `sftp` or `file` for what names a store (nothing is a folder); None for anything else."""
    if not store:
        return "file"
    if not _STORE.fullmatch(store) or {".", ".."} & set(store.split("://", 1)[1].split("/")):
        return None
    return store.partition("://")[0]


def _check_acme(document: Document, faults: Faults) -> None:
    for server in document.dns.servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            faults.add(("dns", "servers"), "This is no IP address.", 'Write it like "9.9.9.9".')
    acme = document.acme
    if acme is None:
        return
    if not acme.directory.startswith("https://"):
        hint = "Let's Encrypt's is https://acme-v02.api.letsencrypt.org/directory."
        faults.add(("acme", "directory"), "This is no https:// address.", hint)
    if not _EMAIL.fullmatch(acme.contact):
        faults.add(("acme", "contact"), "This is no e-mail address.", "Name one that is read.")
    if not acme.terms_agreed:
        hint = "Read the authority's terms; to agree to them, write terms_agreed = true."
        faults.add(("acme", "terms_agreed"), "Certificates are issued only to who agrees to the terms.", hint)
    if acme.ca is not None and not acme.ca.is_file():
        faults.add(("acme", "ca"), "There is no such file.", "Name a PEM file, or leave the key out.")


def _check_domains(document: Document, faults: Faults) -> None:
    first: dict[str, int] = {}
    for index, domain in enumerate(document.domains):
        path = ("domains", index)
        earlier = first.setdefault(domain.name, index)
        if earlier != index:
            line = faults.line(("domains", earlier, "name"))
            hint = f"It is the domain of line {line} already; keep one of the two."
            faults.add((*path, "name"), f"The domain {domain.name} is there twice.", hint)
        _check_known((*path, "tenant"), domain.tenant, document.tenants, "tenant", faults)
        _check_known((*path, "app"), domain.app, document.apps, "app", faults)
        _check_branding((*path, "branding"), domain, faults)


def _check_known(path: KeyPath, name: str, known: Iterable[str], kind: str, faults: Faults) -> None:
    if name not in known:
        hint = did_you_mean(name, known, f"Add a [{kind}s.{name[:40]}] table, or name one that is there.")
        faults.add(path, f"There is no {kind} “{name[:60]}”.", hint)


def _check_branding(path: KeyPath, domain: DomainSettings, faults: Faults) -> None:
    colour, logo = domain.branding.colour, domain.branding.logo
    if not branding.is_colour(colour):
        faults.add((*path, "colour"), "This is no colour.", 'Write it as "#rrggbb", like "#1f4e79".')
    elif (ratio := branding.contrast_with_white(colour)) < branding.READABLE:
        darker = branding.darken_until_readable(colour)
        # Rounded down: a contrast of 4.499 must not read as the 4.5 that it misses.
        said = f"White text on {colour} has a contrast of {int(ratio * 100) / 100:.2f}:1, less than 4.5:1."
        faults.add((*path, "colour"), said, f"The nearest darker colour that passes is {darker}.")
    if logo is None:
        return
    try:
        branding.check_logo(logo)
    except OSError as error:
        hint = f"Put the file at {logo}, or leave the key out."
        faults.add((*path, "logo"), f"The logo cannot be read: {error.strerror}.", hint)
    except ValueError as error:
        faults.add((*path, "logo"), str(error), "Export the logo anew as plain SVG or PNG.")


def is_target(text: str) -> bool:
    """Whether this is written as `package.module:name`."""
    return _TARGET.fullmatch(text) is not None


def _check_most(path: KeyPath, instances: int, most: int | None, faults: Faults) -> None:
    if most is not None and most < instances:
        said = f"There are {instances} instances always, so there cannot be {most} at most."
        faults.add((*path, "max_instances"), said, f"Write {instances} or more, or leave it out.")


def _check_apps(document: Document, faults: Faults) -> None:
    _check_most(("web",), document.web.instances, document.web.max_instances, faults)
    for name, app in document.apps.items():
        path = ("apps", name)
        _check_most(path, app.instances, app.max_instances, faults)
        if not is_target(app.target):
            faults.add((*path, "target"), "This names no callable.", 'Write "package.module:name".')
        if not app.folder.is_dir():
            faults.add((*path, "folder"), "There is no such folder.", f"Create {app.folder}, or correct it.")
        if app.health and not _PREFIX.fullmatch(app.health):
            faults.add((*path, "health"), "This is no path.", 'Write one like "/health", without “?” or “#”.')
        for index, prefix in enumerate(app.public):
            if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
                hint = "Begin with “/”, and use no “..”, “?”, “#” or “%”; for a folder end with “/”."
                faults.add((*path, "public", index), "This is no beginning of a path.", hint)


def _check_scopes(document: Document, faults: Faults) -> None:
    schemas = _read_schemas(document, faults)
    for table, owners in (("roles", document.roles), ("clients", document.clients)):
        for name, owner in owners.items():
            for index, text in enumerate(owner.scopes):
                _check_scope((table, name, "scopes", index), text, schemas, faults)


def _check_scope(
    path: KeyPath, text: str, fields: Mapping[str, frozenset[str] | None], faults: Faults
) -> None:
    try:
        scope: Scope = parse_scope(text)
    except ValueError as error:
        faults.add(path, f"{error}.", "The action is create, read, update or delete.")
        return
    if scope.administrative:
        return
    if scope.collection not in fields:
        hint = did_you_mean(scope.collection, fields, "Declare the collection, or name one that is there.")
        faults.add(path, f"There is no collection “{scope.collection}”.", hint)
        return
    known = fields[scope.collection]
    for field in scope.fields if known is not None else ():
        if field not in (known or ()):
            hint = did_you_mean(field, known or (), "Name a property of the collection's schema.")
            faults.add(path, f"The schema of {scope.collection} has no field “{field}”.", hint)


def _read_schemas(document: Document, faults: Faults) -> dict[str, frozenset[str] | None]:
    """The fields of each collection; None where the schema cannot be read, and that is noted."""
    fields: dict[str, frozenset[str] | None] = {}
    for name, collection in document.collections.items():
        path = ("collections", name, "schema")
        try:
            fields[name] = property_names(read_schema(collection.schema))
        except SchemaFault as fault:
            fields[name] = None
            if collection.schema.is_file():
                faults.add_in(collection.schema, fault.line, path, fault.public, fault.hint)
            else:
                faults.add(path, fault.public, fault.hint)
    return fields


def _check_clients(document: Document, faults: Faults) -> None:
    for name, client in document.clients.items():
        path = ("clients", name)
        _check_known((*path, "tenant"), client.tenant, document.tenants, "tenant", faults)
        try:
            found = registration_faults(declared_registration(client), client.redirect_uris)
        except RegistrationFault as fault:
            found = [fault]
        for fault in found:
            place = () if fault.place is None else (fault.place,)
            hint = "Write https://host/path." if place else "See docs/api.md, “Clients”."
            faults.add((*path, fault.member, *place), fault.sentence, hint)


def _check_users(document: Document, faults: Faults) -> None:
    first: dict[tuple[str, str], int] = {}
    for index, user in enumerate(document.users):
        path = ("users", index)
        _check_known((*path, "tenant"), user.tenant, document.tenants, "tenant", faults)
        for position, role in enumerate(user.roles):
            _check_known((*path, "roles", position), role, document.roles, "role", faults)
        if not _EMAIL.fullmatch(user.email):
            faults.add((*path, "email"), "This is no e-mail address.", "Write it like name@company.example.")
        earlier = first.setdefault((user.tenant, user.email.casefold()), index)
        if earlier != index:
            line = faults.line(("users", earlier, "email"))
            hint = f"Line {line} has this address for the same tenant; change or remove one of the two."
            faults.add((*path, "email"), "This user is there twice.", hint)


_CHECKS: tuple[Callable[[Document, Faults], None], ...] = (
    _check_something,
    _check_names,
    _check_policies,
    _check_texts,
    _check_edge,
    check_database,
    _check_mail,
    check_alerts,
    check_tracing_table,
    _check_backup,
    _check_acme,
    _check_domains,
    check_networks,
    _check_apps,
    _check_scopes,
    _check_clients,
    _check_users,
)
