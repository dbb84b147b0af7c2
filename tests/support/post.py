"""The post of a house: orders that are due are sent to a relay that keeps them."""

from email.message import EmailMessage

import msgspec

from support.access import Access, House
from support.relay import Kept
from troth.access.accounts.mail import Mailer
from troth.access.accounts.outbox import Outbox
from troth.access.tenants import DomainDirectory


class Post:
    """Works like the keeper's, when it is told to."""

    def __init__(self, access: Access, kept: Kept) -> None:
        self.kept = kept
        self.outbox = Outbox(
            access.owner,
            access.registrar,
            access.sealer,
            DomainDirectory(access.owner, access.clock, port=8443),
            Mailer(kept.relay, access.clock),
            access.clock,
        )

    async def sent(self) -> list[EmailMessage]:
        """What was due until now."""
        before = len(self.kept.messages)
        while await self.outbox.work():
            pass
        return self.kept.messages[before:]


async def set_policy(house: House, **policy: object) -> None:
    """The policy of the house's tenant."""
    await house.access.owner.execute(
        "update troth.tenant set policy = $2 where id = $1",
        house.tenant.id,
        msgspec.json.encode(policy).decode(),
    )
    house.access.clock.advance(seconds=11)  # directories keep what they know for ten
