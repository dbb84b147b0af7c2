"""`/account/…`: passwords, addresses and registration. Forms that work without a script."""

from starlette.routing import Route

from troth.web.accounts.mailed import MailedLinks
from troth.web.accounts.own import OwnAccount
from troth.web.accounts.requests import MailRequests
from troth.web.accounts.services import AccountServices
from troth.web.pages import PageHandler, page


def routes(services: AccountServices) -> list[Route]:
    """Every route of the accounts."""
    ask, mailed, own = MailRequests(services), MailedLinks(services), OwnAccount(services)
    table: tuple[tuple[str, PageHandler, PageHandler], ...] = (
        ("/account/forgot", ask.show_forgot, ask.forgot),
        ("/account/register", ask.show_register, ask.register),
        ("/account/reset", mailed.show_reset, mailed.reset),
        ("/account/invitation", mailed.show_invitation, mailed.accept),
        ("/account/registration", mailed.show_registration, mailed.register),
        ("/account/verify", mailed.show_verify, mailed.verify),
        ("/account/password", own.show_password, own.change_password),
        ("/account/email", own.show_email, own.change_email),
    )
    return [
        route
        for path, show, submit in table
        for route in (
            Route(path, page(services, show), methods=["GET"]),
            Route(path, page(services, submit), methods=["POST"]),
        )
    ]
