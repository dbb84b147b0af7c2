"""Every place that holds or receives data, derived from troth.toml, and where the platform may connect to.

Pure, but for finding the line of a fault. `find_places` refuses what lies outside the EU and the EEA, naming
data.residency; `declared_destinations` is what the watch over outgoing connections allows, and what a
firewall may open.
"""

import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from troth.core.config import find_line
from troth.core.errors import ConfigError
from troth.core.process import Endpoint
from troth.core.settings import BackupSettings, Settings
from troth.data.residency import COUNTRIES, ELSEWHERE, PROMISE, REGIONS, Place, check_region

_ABROAD = re.compile(
    r"(?:s3-)?((?:us|ca|sa|ap|af|me|il|cn|mx|au|in|jp|sg|kr|br|uk|ch)-(?:gov-|iso-)?[a-z]{4,}-?\d+[a-z]?)"
)
"""A label of a host name that names a region of another continent, the United Kingdom or Switzerland."""

_SFTP_PORT = 22
_HTTPS_PORT = 443
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Use = Literal[
    "members", "consensus", "backups", "mail", "alerts", "keys", "logs", "receiver", "certificates", "traces"
]


class Destination(msgspec.Struct, frozen=True, order=True):
    """Where the platform may connect to. `host` is a name or an address; `why` is for people."""

    host: str
    port: int
    why: str


class DataPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place for data: what it is used for, where it lies, and how it is reached (none: on this machine)."""

    use: Use
    name: str
    place: Place
    destinations: tuple[Destination, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.place}"


def find_places(settings: Settings) -> tuple[DataPlace, ...]:
    """Every place that holds or receives data. Raises ConfigError, naming data.residency, for one that lies
    outside the EU and the EEA, is not known, or whose address names another region than was declared."""
    own = own_regions(settings)
    here = _check(settings, settings.platform.region, ("platform", "region"), own)
    found = [
        *_member_places(settings, here, own),
        DataPlace(use="keys", name="keys, in files of this machine", place=here),
        DataPlace(use="logs", name="logs, on this machine", place=here),
    ]
    if settings.backup is not None:
        found.append(_backup_place(settings, settings.backup, here, own))
    if settings.mail is not None:
        mail = settings.mail
        place = _check(settings, mail.region, ("mail", "region"), own)
        _check_host(settings, mail.host, place, ("mail", "host"))
        reached = (Destination(mail.host, mail.port, "mail relay"),)
        found.append(DataPlace(use="mail", name=f"mail relay {mail.host}", place=place, destinations=reached))
    found += _alert_places(settings, own)
    found += _trace_places(settings, own)
    for name, one in settings.places.items():
        place = _check(settings, one.region, ("places", name, "region"), own)
        _check_host(settings, one.host, place, ("places", name, "host"))
        reached = (Destination(one.host.lower(), one.port, one.purpose),)
        found.append(
            DataPlace(use="receiver", name=f"{one.purpose} ({one.host})", place=place, destinations=reached)
        )
    _check_receivers(settings)
    return tuple(found)


def declared_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Pure: all that the platform may connect to outside this machine, without its name servers.

    What receives no customer data needs no region and stands here all the same: the authority that certifies
    public names. Raises ConfigError as `find_places` does.
    """
    found = [one for place in find_places(settings) for one in place.destinations]
    if settings.acme is not None:
        host, port = _address(settings.acme.directory)
        found.append(Destination(host, port, "certificates of public names"))
    return tuple(sorted(set(found)))


def own_regions(settings: Settings) -> dict[str, str]:
    """The regions that troth.toml declares: name → country. Raises ConfigError for one outside the EU and the
    EEA, without a reason, or with a name that means something else already."""
    known = {*COUNTRIES, *ELSEWHERE, *(name for regions in REGIONS.values() for name in regions)}
    for name, one in settings.regions.items():
        if name in known or name.lower() in known or name.upper() in known:
            said = f"“{name}” is the name of a region or a country already."
            raise _refusal(settings, said, "Choose another name for yours.", ("regions", name))
        if one.country not in COUNTRIES:
            hint = "Write the code of a country of the EU or the EEA, like “DE”."
            said = ELSEWHERE.get(one.country, f"“{one.country[:40]}” is no country of the EU or the EEA.")
            raise _refusal(settings, said, hint, ("regions", name, "country"))
        if not one.reason.strip():
            hint = "Say who vouches for it, and on which ground."
            raise _refusal(
                settings, "A region of one's own needs a reason.", hint, ("regions", name, "reason")
            )
    return {name: one.country for name, one in settings.regions.items()}


def foreign_region(host: str, place: Place) -> str:
    """The part of a host name that names another region than `place`; empty when there is none."""
    name = host.lower().rstrip(".")
    if name == "s3.amazonaws.com" or name.endswith(".s3.amazonaws.com"):
        return "s3.amazonaws.com (us-east-1)"
    if name.endswith(".r2.cloudflarestorage.com") and ".eu." not in name:
        return "r2.cloudflarestorage.com (no jurisdiction)"
    for label in _labels(name):
        if matched := _ABROAD.fullmatch(label):
            return matched[1]
        region = label.removeprefix("s3-")
        country = _country_of(region)
        elsewhere = region in ELSEWHERE and (name.endswith(".amazonaws.com") or not region.startswith("eu-"))
        if elsewhere or (country and country != place.country):
            return region
    return ""


def _labels(name: str) -> Iterator[str]:
    """Without the top level: `.de` says nothing of where a machine stands."""
    yield from name.split(".")[:-1]


def _country_of(region: str) -> str:
    return next((regions[region] for regions in REGIONS.values() if region in regions), "")


def _member_places(settings: Settings, here: Place, own: dict[str, str]) -> Iterator[DataPlace]:
    database, path = settings.database, ("database", "regions")
    if not database.hosts:
        yield DataPlace(use="members", name="database members", place=here)
    for text, region in zip(database.hosts, database.regions, strict=True):
        host, place = Endpoint.read(text), _check(settings, region, path, own)
        _check_host(settings, host.host, place, ("database", "hosts"))
        reached = (Destination(host.host, host.port, "database member"),)
        yield DataPlace(use="members", name=f"database member {text}", place=place, destinations=reached)


def _backup_place(settings: Settings, backup: BackupSettings, here: Place, own: dict[str, str]) -> DataPlace:
    kind, _, rest = (backup.store or "file://").partition("://")
    if kind == "file":
        place = _check(settings, backup.region, ("backup", "region"), own) if backup.region else here
        return DataPlace(use="backups", name="backups, in a folder", place=place)
    place = _check(settings, backup.region, ("backup", "region"), own)
    reached = _store_addresses(kind, rest, backup, place)
    for one in reached:
        _check_host(settings, one.host, place, ("backup", "endpoint" if backup.endpoint else "store"))
    return DataPlace(use="backups", name=f"backups at {reached[0].host}", place=place, destinations=reached)


def _alert_places(settings: Settings, own: dict[str, str]) -> Iterator[DataPlace]:
    """An alert names parts of the platform and no person; where it goes is declared all the same."""
    for name, target in settings.alerts.targets.items():
        path = ("alerts", "targets", name)
        place = _check(settings, target.region, (*path, "region"), own)
        reached: tuple[Destination, ...] = ()
        if target.webhook:
            host, port = _address(target.webhook)
            _check_host(settings, host, place, (*path, "webhook"))
            reached = (Destination(host, port, f"alerts to {name}"),)
        yield DataPlace(use="alerts", name=f"alerts to {name}", place=place, destinations=reached)


def _trace_places(settings: Settings, own: dict[str, str]) -> Iterator[DataPlace]:
    """Spans name routes and statements and no person; where they go is declared all the same."""
    tracing, path = settings.tracing, ("tracing", "region")
    if tracing is None:
        return
    place, (host, port) = _check(settings, tracing.region, path, own), _address(tracing.endpoint)
    _check_host(settings, host, place, ("tracing", "endpoint"))
    reached = (Destination(host, port, "collector of traces"),)
    yield DataPlace(use="traces", name=f"collector of traces at {host}", place=place, destinations=reached)


def _store_addresses(kind: str, rest: str, backup: BackupSettings, place: Place) -> tuple[Destination, ...]:
    """A bucket may be addressed in the path or in front of the host."""
    if kind == "sftp":
        parts = urlsplit(f"sftp://{rest}")
        return (Destination(parts.hostname or "", parts.port or _SFTP_PORT, "backup store"),)
    host, port = _address(backup.endpoint or f"https://s3.{place.region}.amazonaws.com")
    bucket = rest.partition("/")[0].lower()
    return (
        Destination(host, port, "backup store"),
        *((Destination(f"{bucket}.{host}", port, "backup store"),) if bucket else ()),
    )


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else _HTTPS_PORT)


def _check(settings: Settings, region: str, path: tuple[str, ...], own: dict[str, str]) -> Place:
    key = ".".join(path)
    try:
        return check_region(region, key=key, own=own)
    except ConfigError:
        line = find_line(settings.file, *path)
        return check_region(region, key=key, file=settings.file, line=line, own=own)


def _check_host(settings: Settings, host: str, place: Place, path: tuple[str, ...]) -> None:
    if foreign := foreign_region(host, place):
        said = f"The address {host} names {foreign}, but {place} was declared."
        raise _refusal(settings, said, "Correct the address or the region, whichever is wrong.", path)


def _check_receivers(settings: Settings) -> None:
    """A client that is told of sign-outs learns of a person: its host is a place like any other."""
    known = {one.host.lower() for one in settings.places.values()}
    for name, client in settings.clients.items():
        host = urlsplit(client.backchannel_logout_uri).hostname or ""
        if host and host not in known and host not in _LOOPBACK:
            said = f"Sign-outs are told to {host}, and nothing says where that is."
            hint = f'Declare it: [places.{name}] with host = "{host}", a region and a purpose.'
            raise _refusal(settings, said, hint, ("clients", name, "backchannel_logout_uri"))


def _refusal(settings: Settings, said: str, hint: str, path: tuple[str, ...]) -> ConfigError:
    return ConfigError(
        said,
        file=settings.file,
        line=find_line(settings.file, *path),
        key=".".join(path),
        hint=hint,
        promise=PROMISE,
    )
