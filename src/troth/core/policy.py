"""What a tenant decides for its people: how long sessions last, how they are proved, who may join.

The same struct stands in `troth.toml` (`[tenants.NAME.policy]`) and, as JSON, in the tenant's row. Members
only grow at the end, each with a default that is the safe choice.
"""

from datetime import timedelta
from typing import Annotated, Literal

import msgspec

SecondFactor = Literal["off", "optional", "required"]
Joining = Literal["closed", "invitation", "open"]
Language = Literal["", "en", "de"]

MAX_EMAIL_DOMAINS = 50


class TenantPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`registration`: nobody joins, only who is invited, or anybody (with an address of `email_domains`,
    where some are named); `joining_roles` are given to who registers by themselves. `language` empty is the
    browser's wish. `mail_name` is who messages come from; empty: the domain's brand.
    """

    session_idle_minutes: Annotated[int, msgspec.Meta(ge=1, le=60 * 24 * 7)] = 60
    session_absolute_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 30)] = 12
    sessions_most: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    step_up_minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    second_factor: SecondFactor = "optional"
    registration: Joining = "invitation"
    email_domains: tuple[str, ...] = ()
    joining_roles: tuple[str, ...] = ()
    language: Language = ""
    mail_name: str = ""

    @property
    def session_idle(self) -> timedelta:
        """A session that is not used for this long is over."""
        return timedelta(minutes=self.session_idle_minutes)

    @property
    def session_absolute(self) -> timedelta:
        """A session is over after this long in any case."""
        return timedelta(hours=self.session_absolute_hours)

    @property
    def step_up(self) -> timedelta:
        """How young an authentication has to be for what is especially sensitive."""
        return timedelta(minutes=self.step_up_minutes)

    def admits(self, email: str) -> bool:
        """Whether somebody with this address may register by themselves. Whole domains are compared: a
        suffix would admit `evil-company.example` for `company.example`."""
        if self.registration != "open":
            return False
        domain = email.rpartition("@")[2].lower()
        return not self.email_domains or domain in {one.lower() for one in self.email_domains}


def read_policy(text: str) -> TenantPolicy:
    """The policy of a tenant's row. What a newer version wrote is passed over; a damaged one is the safest,
    never a wider one."""
    try:
        return msgspec.json.decode(text, type=TenantPolicy)
    except msgspec.MsgspecError:
        return SAFEST


SAFEST = TenantPolicy(
    session_idle_minutes=15, session_absolute_hours=1, second_factor="required", registration="closed"
)
"""For a row that cannot be read."""
