"""Reading what a client sends by itself: the form, and what the request shows of its sender."""

from starlette.requests import Request

from troth.access.errors import InvalidClient, InvalidRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.tenants import Domain
from troth.core.errors import Malformed, TooLarge, UnsupportedMedia
from troth.web.answers import request_id
from troth.web.client_certificate import CERTIFICATE_HEADER, read_certificate
from troth.web.forms import once, read_form


async def read_client_request(request: Request, domain: Domain) -> ClientRequest:
    """The request as access judges it. Raises OAuthError when it cannot be read in one way only."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidClient("the Authorization header occurs more than once")
    try:
        form = once(await read_form(request))
    except (Malformed, TooLarge, UnsupportedMedia) as error:
        raise InvalidRequest(
            "the form cannot be read, or a field occurs twice", detail=error.public
        ) from None
    return ClientRequest(
        form=form,
        authorization=headers[0] if headers else None,
        certificate=read_certificate(request.headers.get(CERTIFICATE_HEADER)),
        url=f"{domain.issuer}{request.url.path}",
        trace=request_id(request),
    )
