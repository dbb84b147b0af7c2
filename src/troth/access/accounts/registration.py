"""Who may register: each tenant's own policy."""

from troth.access.accounts.people import normal_email
from troth.core.policy import TenantPolicy


def admits(policy: TenantPolicy, email: str) -> bool:
    """Whether a stranger with this address may register; who is invited comes in whatever their domain."""
    host = normal_email(email).rpartition("@")[2]
    allowed = {one.casefold() for one in policy.email_domains}
    return policy.registration == "open" and (not allowed or host in allowed)
