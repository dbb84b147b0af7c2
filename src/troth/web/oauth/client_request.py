"""Reading what a client sends by itself: the form, and what the request shows of its sender."""

from starlette.requests import Request

from troth.access.authenticator import Presented
from troth.access.errors import InvalidClient, InvalidProof, InvalidRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.tenants import Domain
from troth.core.errors import Malformed, TooLarge, Unauthenticated, UnsupportedMedia
from troth.web.answers import request_id
from troth.web.client_certificate import CERTIFICATE_HEADER, read_certificate
from troth.web.forms import once, read_form


async def read_client_request(request: Request, domain: Domain) -> ClientRequest:
    """The request as access judges it. Raises OAuthError when it cannot be read in one way only."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidClient("the Authorization header occurs more than once")
    proofs = request.headers.getlist("dpop")
    if len(proofs) > 1:
        raise InvalidProof("the DPoP header occurs more than once")
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
        url=f"{domain.issuer}{request.scope['path']}",
        trace=request_id(request),
        proof=proofs[0] if proofs else None,
    )


def read_presented(request: Request) -> Presented:
    """What a request with an access token shows. Raises Unauthenticated when a header occurs twice."""
    tokens, proofs = request.headers.getlist("authorization"), request.headers.getlist("dpop")
    if len(tokens) > 1 or len(proofs) > 1:
        raise Unauthenticated("Send one access token, with one proof.", error="invalid_request")
    return Presented(
        authorization=tokens[0] if tokens else None,
        proof=proofs[0] if proofs else None,
        method=request.method,
        path=request.url.path,
        certificate=read_certificate(request.headers.get(CERTIFICATE_HEADER)),
    )
