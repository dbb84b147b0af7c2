"""A tenant's policy, and the branding of a domain, for its own administrators."""

import re

import msgspec

from troth.access.administrator import Administrator, Guard, Tags, require_current
from troth.access.tenants import Branding, Logo
from troth.core.branding import check_colour, check_picture
from troth.core.errors import Unprocessable
from troth.core.policy import MAX_EMAIL_DOMAINS, TenantPolicy, read_policy

PICTURES = {"image/svg+xml": ".svg", "image/png": ".png"}
TEXT_LIMIT = 120

_DOMAIN = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+", re.ASCII)

Faults = tuple[tuple[str, str], ...]
"""Each as (JSON pointer, sentence)."""


class SettingsView(msgspec.Struct, frozen=True, kw_only=True):
    """`declared`: troth.toml names the tenant or the domain; what it says comes back at the next start."""

    policy: TenantPolicy
    branding: Branding
    declared: bool
    tag: str


class AdministeredSettings:
    """Every call raises what those of Guard do."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def read(self, by: Administrator) -> SettingsView:
        """The tenant's policy, and how the domain looks that it is asked for on."""
        query = "select * from troth.admin_settings($1, $2, $3)"
        (row,) = await self._guard.rows(by, "admin.settings:read", query)
        return SettingsView(
            policy=read_policy(row["policy"]),
            branding=msgspec.json.decode(row["branding"], type=Branding),
            declared=row["declared"],
            tag=row["tag"],
        )

    async def put(self, by: Administrator, policy: TenantPolicy, branding: Branding, tags: Tags) -> None:
        """Replace all of it; every instance follows within a second. Raises PreconditionFailed,
        Unprocessable."""
        faults = (*_policy_faults(policy), *_branding_faults(branding))
        if faults:
            raise Unprocessable("These settings cannot be.", errors=faults)
        outcome = await self._guard.value(
            by,
            "admin.settings:update",
            "select troth.admin_put_settings($1, $2, $3, $4, $5, $6)",
            msgspec.json.encode(policy).decode(),
            msgspec.json.encode(branding).decode(),
            tags,
        )
        if outcome == "unknown_role":
            said = "names a role that is not"
            raise Unprocessable("A role is not known here.", errors=(("/policy/joining_roles", said),))
        require_current(outcome)


def _policy_faults(policy: TenantPolicy) -> Faults:
    """What troth.toml's policies are checked for too (core/config_checks.py)."""
    faults: list[tuple[str, str]] = []
    if policy.session_idle_minutes > policy.session_absolute_hours * 60:
        faults.append(("/policy/session_idle_minutes", "is longer than a session may last"))
    if len(policy.email_domains) > MAX_EMAIL_DOMAINS:
        faults.append(("/policy/email_domains", f"there are at most {MAX_EMAIL_DOMAINS}"))
    elif not all(map(_DOMAIN.fullmatch, policy.email_domains)):
        faults.append(("/policy/email_domains", "write what stands after the @, like company.example"))
    if len(policy.joining_roles) > MAX_EMAIL_DOMAINS:
        faults.append(("/policy/joining_roles", f"there are at most {MAX_EMAIL_DOMAINS}"))
    if policy.mail_name and not _is_shown(policy.mail_name):
        faults.append(("/policy/mail_name", f"has 1 to {TEXT_LIMIT} visible characters"))
    return tuple(faults)


def _branding_faults(branding: Branding) -> Faults:
    faults: list[tuple[str, str]] = []
    if branding.name and not _is_shown(branding.name):
        faults.append(("/branding/name", f"has 1 to {TEXT_LIMIT} visible characters"))
    try:
        check_colour(branding.colour)
    except ValueError as error:
        faults.append(("/branding/colour", f"{error}"))
    if branding.logo is not None and (fault := _picture_fault(branding.logo)):
        faults.append(("/branding/logo", fault))
    return tuple(faults)


def _picture_fault(logo: Logo) -> str:
    try:
        check_picture(logo.data, PICTURES.get(logo.type, ""))
    except ValueError as error:
        return str(error)
    return ""


def _is_shown(text: str) -> bool:
    return bool(text.strip()) and len(text) <= TEXT_LIMIT and text.isprintable()
