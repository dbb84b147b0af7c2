"""What pages say: one module for each subject, each text in English and German."""

from troth.web.texts import account, accounts, authorization, device, errors, factors, scopes, signing_in

_SUBJECTS = (
    account.TEXTS,
    accounts.TEXTS,
    signing_in.TEXTS,
    authorization.TEXTS,
    device.TEXTS,
    errors.TEXTS,
    factors.TEXTS,
    scopes.TEXTS,
)

TEXTS: dict[str, tuple[str, str]] = {key: text for subject in _SUBJECTS for key, text in subject.items()}
"""Each text in the order of `catalogue.LANGUAGES`."""

if len(TEXTS) != sum(map(len, _SUBJECTS)):
    raise ValueError("two subjects use the same key")
