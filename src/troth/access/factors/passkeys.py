"""Passkeys (Web Authentication Level 3): a key pair of a person's device, for one domain, phishing-resistant.

The domain's name is the relying party's id, to the letter: a passkey of one domain opens no other, also none
above or below it. No attestation is asked for: who made the device is nobody's business here.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from troth.access.accounts.people import Profile
from troth.access.errors import FactorNotChanged, FactorRefused
from troth.access.factors.challenges import Challenges
from troth.access.failures import record_failure
from troth.access.tenants import Domain
from troth.core.db import Database

MOST = 20
"""Passkeys of one person."""

MAX_ANSWER = 32 * 1024

SIGN_IN, SECOND, STEP_UP, REGISTER = "sign-in", "second", "step-up", "register"
"""What a challenge is for: the answer to one is none to another."""

_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

_UNREADABLE = (WebAuthnException, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What the library raises on what it cannot read, or finds wrong."""


class Proof(msgspec.Struct, frozen=True):
    """Whose passkey answered, and what that proves (RFC 8176)."""

    person: UUID
    amr: tuple[str, ...]


class Passkeys:
    """Registers passkeys and verifies their answers."""

    def __init__(self, database: Database, challenges: Challenges) -> None:
        self._database = database
        self._challenges = challenges

    async def invite(
        self, domain: Domain, person: UUID, profile: Profile, subject: bytes, known: tuple[bytes, ...] = ()
    ) -> str:
        """What `navigator.credentials.create` is asked, as JSON. `known` devices are not registered twice."""
        options = generate_registration_options(
            rp_id=domain.name,
            rp_name=domain.branding.name or domain.name,
            user_id=person.bytes,
            user_name=profile.email,
            user_display_name=profile.name or profile.email,
            challenge=await self._challenges.issue(domain, REGISTER, person.bytes + subject),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
            supported_pub_key_algs=_ALGORITHMS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
        )
        return options_to_json(options)

    async def ask(self, domain: Domain, purpose: str, subject: bytes = b"") -> str:
        """What `navigator.credentials.get` is asked, as JSON. It names no passkey, so that it tells nobody
        whether an account has one (WebAuthn section 14.6.2)."""
        options = generate_authentication_options(
            rp_id=domain.name,
            challenge=await self._challenges.issue(domain, purpose, subject),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json(options)

    async def add(
        self, domain: Domain, person: UUID, subject: bytes, answer: str, name: str, *, request: str = ""
    ) -> tuple[str, ...]:
        """Keep a new passkey (WebAuthn section 7.1); what it proves at once. Raises FactorRefused when the
        answer does not fit, FactorNotChanged when it is known already or the person has too many."""
        # 1. The answer can be read, and its challenge is of this domain, person and session.
        credential = _read(parse_registration_credential_json, answer)
        challenge = _challenge(credential.response.client_data_json)
        until = await self._challenges.check(domain, REGISTER, person.bytes + subject, challenge)
        # 2. Origin, relying party, presence and verification of the user, algorithm.
        try:
            verified = verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=domain.name,
                expected_origin=domain.issuer,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
        except _UNREADABLE as error:
            raise _refused(error) from None
        # 3. The challenge is answered for the first time, and nobody has this passkey.
        outcome = await self._database.fetchval(
            "select troth.add_passkey($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            domain.name,
            person,
            uuid7(),
            verified.credential_id,
            verified.credential_public_key,
            verified.sign_count,
            verified.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
            verified.credential_backed_up,
            clean_name(name),
            _hash(challenge),
            until,
            MOST,
            request,
            idempotent=True,
        )
        if outcome == "replayed":
            raise FactorRefused("The passkey does not fit.", detail="replayed challenge")
        if outcome != "added":
            raise FactorNotChanged(outcome)
        return _amr(verified.credential_device_type == CredentialDeviceType.MULTI_DEVICE)

    async def prove(
        self,
        domain: Domain,
        purpose: str,
        answer: str,
        *,
        subject: bytes = b"",
        person: UUID | None = None,
        request: str = "",
    ) -> Proof:
        """Verify an answer (WebAuthn section 7.2). `person` is whose it has to be. Raises FactorRefused."""
        # 1. The answer can be read, and its challenge is of this domain, purpose and subject.
        credential = _read(parse_authentication_credential_json, answer)
        challenge = _challenge(credential.response.client_data_json)
        until = await self._challenges.check(domain, purpose, subject, challenge)
        # 2. The passkey is known on this domain, and belongs to whom it says and has to.
        row = await self._database.fetchrow(
            "select * from troth.find_passkey($1, $2)", domain.name, credential.raw_id
        )
        if row is None or (person is not None and row["person_id"] != person):
            raise FactorRefused("The passkey does not fit.", detail="unknown passkey")
        if (credential.response.user_handle or row["person_id"].bytes) != row["person_id"].bytes:
            raise FactorRefused("The passkey does not fit.", detail="user handle")
        # 3. Signature, origin, relying party, counter.
        verified = await self._verify(domain, credential, challenge, row, request)
        # 4. One statement: the challenge is answered for the first time, and the counter moves on.
        await self._use(domain, row, verified, challenge, until)
        return Proof(row["person_id"], _amr(row["backup_eligible"]))

    async def _verify(
        self, domain: Domain, credential: AuthenticationCredential, challenge: bytes, row: Any, request: str
    ) -> Any:
        try:
            verified = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=domain.name,
                expected_origin=domain.issuer,
                credential_public_key=row["public_key"],
                credential_current_sign_count=0,  # compared below, where it can be told apart
                require_user_verification=True,
            )
        except _UNREADABLE as error:
            raise _refused(error) from None
        if row["sign_count"] and verified.new_sign_count <= row["sign_count"]:
            # Two devices hold one key: somebody has copied it (WebAuthn section 6.1.1).
            await record_failure(
                self._database, "factor.failed", domain.name, row["person_id"], request, way="passkey copied"
            )
            raise FactorRefused("The passkey does not fit.", detail="counter went back")
        if (verified.credential_device_type == CredentialDeviceType.MULTI_DEVICE) != row["backup_eligible"]:
            raise FactorRefused("The passkey does not fit.", detail="backup eligibility changed")
        return verified

    async def _use(self, domain: Domain, row: Any, verified: Any, challenge: bytes, until: datetime) -> None:
        used = await self._database.fetchval(
            "select troth.use_passkey($1, $2, $3, $4, $5, $6, $7)",
            domain.name,
            row["id"],
            row["sign_count"],
            verified.new_sign_count,
            verified.credential_backed_up,
            _hash(challenge),
            until,
            idempotent=False,
        )
        if not used:
            raise FactorRefused("The passkey does not fit.", detail="replayed challenge")


T = TypeVar("T")


def clean_name(name: str) -> str:
    """What a person calls a passkey, on one line, not empty and not too long."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in name[:200]).split())
    return plain[:60] or "Passkey"


def _read(parse: Callable[[str], T], answer: str) -> T:
    if len(answer) > MAX_ANSWER:
        raise FactorRefused("The passkey does not fit.", detail="too long")
    try:
        return parse(answer)
    except _UNREADABLE as error:
        raise _refused(error) from None


def _challenge(client_data: bytes) -> bytes:
    """Which challenge was answered. An answer given inside another site's frame counts for nothing."""
    try:
        read = parse_client_data_json(client_data)
    except _UNREADABLE as error:
        raise _refused(error) from None
    if read.cross_origin:
        raise FactorRefused("The passkey does not fit.", detail="cross-origin")
    return read.challenge


def _amr(backup_eligible: bool) -> tuple[str, ...]:
    """A key that can leave its device is kept by software; the device verified its user in any case."""
    return ("swk" if backup_eligible else "hwk", "user")


def _hash(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()


def _refused(error: Exception) -> FactorRefused:
    return FactorRefused("The passkey does not fit.", detail=f"{type(error).__name__}: {error}"[:200])
