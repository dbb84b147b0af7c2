"""The data API with tokens that are bound to a key or a certificate: they open with it, and never without."""

import base64

import httpx
import pytest

from support.api import check_problem
from support.documents import EVERYTHING, Person
from support.prover import Prover
from troth.access.confirmation import Confirmation
from troth.access.oauth.certificates import certificate_thumbprint
from troth.access.tokens import Bearer

PATH = "/api/v1/tickets"
CERTIFICATE = b"a certificate in DER"


@pytest.fixture
async def prover(ada: Person) -> Prover:
    made = Prover()
    made.nonce = await ada.house.access.proofs.nonce(ada.house.domain)
    return made


async def token_for(ada: Person, confirmation: Confirmation) -> str:
    bearer = Bearer(
        session=ada.session, person=ada.id, client="session", scopes=EVERYTHING, confirmation=confirmation
    )
    return (await ada.house.access.tokens.mint(ada.house.domain, bearer)).token


async def ask(
    http: httpx.AsyncClient, ada: Person, authorization: str, *more: tuple[str, str], path: str = PATH
) -> httpx.Response:
    headers = [("host", f"{ada.house.domain.name}:8443"), ("authorization", authorization), *more]
    return await http.get(path, headers=headers)


async def test_a_token_with_its_key_reads_and_a_query_does_not_matter(
    http: httpx.AsyncClient, ada: Person, prover: Prover
) -> None:
    token = await token_for(ada, Confirmation(jkt=prover.thumbprint))
    url = f"{ada.house.domain.issuer}{PATH}"
    for path in (PATH, f"{PATH}?limit=1"):
        proof = prover.proof(url, "GET", token=token)
        assert (await ask(http, ada, f"DPoP {token}", ("dpop", proof), path=path)).status_code == 200
        replayed = await ask(http, ada, f"DPoP {token}", ("dpop", proof), path=path)
        check_problem(replayed, 401, "unauthenticated")
        assert 'DPoP realm="api", algs="ES256' in replayed.headers["www-authenticate"]
        assert 'error="invalid_dpop_proof"' in replayed.headers["www-authenticate"]


async def test_the_api_tells_the_nonce_to_use(http: httpx.AsyncClient, ada: Person) -> None:
    prover = Prover()
    token = await token_for(ada, Confirmation(jkt=prover.thumbprint))
    url = f"{ada.house.domain.issuer}{PATH}"
    first = await ask(http, ada, f"DPoP {token}", ("dpop", prover.proof(url, "GET", token=token)))
    assert 'error="use_dpop_nonce"' in first.headers["www-authenticate"]
    prover.nonce = first.headers["dpop-nonce"]
    second = await ask(http, ada, f"DPoP {token}", ("dpop", prover.proof(url, "GET", token=token)))
    assert second.status_code == 200


async def test_a_bound_token_is_no_bearer_token_and_a_bearer_token_is_not_bound(
    http: httpx.AsyncClient, ada: Person, prover: Prover
) -> None:
    bound, free = await token_for(ada, Confirmation(jkt=prover.thumbprint)), await ada.token(*EVERYTHING)
    url = f"{ada.house.domain.issuer}{PATH}"
    for authorization, proof in (
        (f"Bearer {bound}", prover.proof(url, "GET", token=bound)),
        (f"DPoP {free}", prover.proof(url, "GET", token=free)),
        (f"DPoP {bound}", prover.proof(url, "GET", token=free)),
        (f"DPoP {bound}", Prover().proof(url, "GET", token=bound, nonce=prover.nonce)),
        (f"DPoP {bound}", prover.proof(f"{url}/x", "GET", token=bound)),
        (f"DPoP {bound}", prover.proof(url, "POST", token=bound)),
    ):
        refused = await ask(http, ada, authorization, ("dpop", proof))
        check_problem(refused, 401, "unauthenticated")
    check_problem(await ask(http, ada, f"Bearer {bound}"), 401, "unauthenticated")
    check_problem(await ask(http, ada, f"DPoP {bound}"), 401, "unauthenticated")
    assert (await ask(http, ada, f"Bearer {free}")).status_code == 200


async def test_a_header_that_occurs_twice_is_refused(
    http: httpx.AsyncClient, ada: Person, prover: Prover
) -> None:
    token = await token_for(ada, Confirmation(jkt=prover.thumbprint))
    proofs = [("dpop", prover.proof(f"{ada.house.domain.issuer}{PATH}", "GET", token=token)) for _ in "ab"]
    check_problem(await ask(http, ada, f"DPoP {token}", *proofs), 400, "malformed")
    free = await ada.token(*EVERYTHING)
    twice = await ask(http, ada, f"Bearer {free}", ("authorization", f"Bearer {free}"))
    check_problem(twice, 400, "malformed")


async def test_a_certificate_bound_token_opens_with_its_certificate_alone(
    http: httpx.AsyncClient, ada: Person
) -> None:
    token = await token_for(ada, Confirmation(certificate=certificate_thumbprint(CERTIFICATE)))
    shown = base64.b64encode(CERTIFICATE).decode()
    header = "x-troth-client-certificate"
    assert (await ask(http, ada, f"Bearer {token}", (header, shown))).status_code == 200
    for more in (
        [],
        [(header, base64.b64encode(b"another").decode())],
        [(header, "not base64!")],
        [(header, "")],
    ):
        check_problem(await ask(http, ada, f"Bearer {token}", *more), 401, "unauthenticated")
