"""What a client's tokens are bound to: the key of its DPoP proof, its TLS certificate, or nothing.

RFC 9449 section 5, RFC 8705 section 3.
"""

from troth.access.confirmation import Confirmation
from troth.access.dpop import Proofs
from troth.access.errors import InvalidProof, InvalidRequest
from troth.access.oauth.certificates import certificate_thumbprint
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.tenants import Domain


class Senders:
    """Reads what a back-channel request was sent with."""

    def __init__(self, proofs: Proofs) -> None:
        self._proofs = proofs

    async def confirm(self, domain: Domain, client: Client, request: ClientRequest) -> Confirmation:
        """What the tokens of this request are to be bound to. Raises InvalidProof, and InvalidRequest when a
        client that was registered for a certificate comes without."""
        return Confirmation(await self._key(domain, client, request), _certificate(client, request))

    async def key_of(self, domain: Domain, request: ClientRequest) -> str:
        """The thumbprint of the key that a request was proved with, empty when it came without a proof.
        Raises InvalidProof."""
        if request.proof is None:
            return ""
        return await self._proofs.check(domain, request.proof, "POST", request.url)

    async def _key(self, domain: Domain, client: Client, request: ClientRequest) -> str:
        if request.proof is None and client.dpop_bound_access_tokens:
            raise InvalidProof("this client proves its key", nonce=await self._proofs.nonce(domain))
        return await self.key_of(domain, request)


def _certificate(client: Client, request: ClientRequest) -> str:
    if not client.tls_client_certificate_bound_access_tokens:
        return ""
    if not request.certificate:
        raise InvalidRequest("this client sends its certificate")
    return certificate_thumbprint(request.certificate)
