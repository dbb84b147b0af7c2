"""The letters, each text in English and German."""

import msgspec

Both = tuple[str, str]


class Letter(msgspec.Struct, frozen=True):
    """One kind of letter; a line of `body` and `closing` is a paragraph."""

    subject: Both
    body: Both
    closing: Both
    button: Both = ("", "")


COMMON: dict[str, Both] = {
    "greeting": ("Hello {name},", "Guten Tag {name},"),
    "automatic": (
        "This message was sent automatically by {brand} ({domain}). Nobody reads replies to it.",
        "Diese Nachricht wurde automatisch von {brand} ({domain}) gesendet. Antworten darauf liest niemand.",
    ),
}

_NOT_YOU: Both = (
    "If you did not ask for this, you need not do anything: nothing changes without this link.",
    "Wenn Sie das nicht waren, brauchen Sie nichts zu tun: Ohne diesen Link ändert sich nichts.",
)
_WAS_IT_YOU: Both = (
    "If this was not you, choose a new password on the sign-in page at once and tell your contact at "
    "{brand}.",
    "Wenn Sie das nicht waren, wählen Sie sofort auf der Anmeldeseite ein neues Passwort und sagen Sie Ihrer "
    "Ansprechperson bei {brand} Bescheid.",
)

LETTERS: dict[str, Letter] = {
    "reset": Letter(
        ("Choose a new password for {brand}", "Neues Passwort für {brand} wählen"),
        (
            "somebody asked for a new password for your account. The link is good once, for 30 minutes.",
            "für Ihr Konto wurde ein neues Passwort angefordert. Der Link gilt einmal und 30 Minuten lang.",
        ),
        _NOT_YOU,
        ("Choose a new password", "Neues Passwort wählen"),
    ),
    "registration": Letter(
        ("Finish your registration at {brand}", "Registrierung bei {brand} abschließen"),
        (
            "confirm your address and choose a password to finish your registration. The link is good once, "
            "for one day.",
            "bestätigen Sie Ihre Adresse und wählen Sie ein Passwort, um die Registrierung abzuschließen. "
            "Der Link gilt einmal und einen Tag lang.",
        ),
        _NOT_YOU,
        ("Confirm and choose a password", "Bestätigen und Passwort wählen"),
    ),
    "already_registered": Letter(
        ("You have an account at {brand}", "Sie haben ein Konto bei {brand}"),
        (
            "somebody tried to use your address for an account. You have one already: sign in with it, or "
            "choose a new password on the sign-in page if you have forgotten yours.",
            "jemand wollte Ihre Adresse für ein Konto verwenden. Sie haben bereits eines: Melden Sie sich "
            "damit an oder wählen Sie auf der Anmeldeseite ein neues Passwort, wenn Sie Ihres "
            "vergessen haben.",
        ),
        (
            "If you did not ask for this, you need not do anything.",
            "Wenn Sie das nicht waren, brauchen Sie nichts zu tun.",
        ),
    ),
    "invitation": Letter(
        ("Your invitation to {brand}", "Ihre Einladung zu {brand}"),
        (
            "you were invited to {brand}. Choose a password to open your account. The link is good once, for "
            "seven days.",
            "Sie wurden zu {brand} eingeladen. Wählen Sie ein Passwort, um Ihr Konto zu öffnen. Der Link "
            "gilt einmal und sieben Tage lang.",
        ),
        (
            "If you do not expect an invitation, ignore this message.",
            "Wenn Sie keine Einladung erwarten, beachten Sie diese Nachricht nicht.",
        ),
        ("Accept the invitation", "Einladung annehmen"),
    ),
    "verification": Letter(
        ("Confirm your address for {brand}", "Adresse für {brand} bestätigen"),
        (
            "confirm that this is your address. The link is good once, for one day.",
            "bestätigen Sie, dass dies Ihre Adresse ist. Der Link gilt einmal und einen Tag lang.",
        ),
        _NOT_YOU,
        ("Confirm the address", "Adresse bestätigen"),
    ),
    "email_change": Letter(
        ("Confirm your new address for {brand}", "Neue Adresse für {brand} bestätigen"),
        (
            "from now on you want to sign in with this address. Confirm it; until then the old one stays. "
            "The link is good once, for one hour.",
            "Sie möchten sich künftig mit dieser Adresse anmelden. Bestätigen Sie sie; bis dahin gilt "
            "die alte. Der Link gilt einmal und eine Stunde lang.",
        ),
        _NOT_YOU,
        ("Confirm the new address", "Neue Adresse bestätigen"),
    ),
    "password_changed": Letter(
        ("Your password for {brand} was changed", "Ihr Passwort für {brand} wurde geändert"),
        (
            "your password was changed just now, and every session of yours was ended.",
            "Ihr Passwort wurde soeben geändert, und alle Ihre Sitzungen wurden beendet.",
        ),
        _WAS_IT_YOU,
    ),
    "email_changed": Letter(
        ("Your address for {brand} was changed", "Ihre Adresse für {brand} wurde geändert"),
        (
            "your account has another e-mail address from now on. This one opens it no more.",
            "Ihr Konto hat ab jetzt eine andere E-Mail-Adresse. Mit dieser hier lässt es sich nicht mehr "
            "öffnen.",
        ),
        (
            "If this was not you, tell your contact at {brand} at once.",
            "Wenn Sie das nicht waren, sagen Sie sofort Ihrer Ansprechperson bei {brand} Bescheid.",
        ),
    ),
    "factor_added": Letter(
        ("A new way to prove that it is you at {brand}", "Ein neuer Nachweis für Ihr Konto bei {brand}"),
        (
            "a passkey or an authenticator app was set up for your account just now.",
            "für Ihr Konto wurde soeben ein Passkey oder eine Authenticator-App eingerichtet.",
        ),
        _WAS_IT_YOU,
        ("Look at your account", "Konto ansehen"),
    ),
    "factor_removed": Letter(
        ("Your account at {brand} is protected by less", "Ihr Konto bei {brand} ist weniger geschützt"),
        (
            "a passkey or the authenticator app of your account was removed just now.",
            "von Ihrem Konto wurde soeben ein Passkey oder die Authenticator-App entfernt.",
        ),
        _WAS_IT_YOU,
        ("Look at your account", "Konto ansehen"),
    ),
    "recovery_code_used": Letter(
        ("A recovery code was used at {brand}", "Bei {brand} wurde ein Wiederherstellungscode verwendet"),
        (
            "somebody signed in to your account with your password and one of your recovery codes. If you "
            "have lost your device, remove it from your account and set up another.",
            "jemand hat sich mit Ihrem Passwort und einem Ihrer Wiederherstellungscodes angemeldet. Wenn Sie "
            "Ihr Gerät verloren haben, entfernen Sie es aus Ihrem Konto und richten Sie ein anderes ein.",
        ),
        _WAS_IT_YOU,
        ("Look at your account", "Konto ansehen"),
    ),
    "new_device": Letter(
        ("A new sign-in at {brand}", "Eine neue Anmeldung bei {brand}"),
        (
            "somebody signed in to your account in a browser that had not been used for it before.",
            "jemand hat sich bei Ihrem Konto mit einem Browser angemeldet, der dafür bisher nicht verwendet "
            "wurde.",
        ),
        (
            "If this was not you, end that session, and choose a new password at once.",
            "Wenn Sie das nicht waren, beenden Sie diese Sitzung und wählen Sie sofort ein neues Passwort.",
        ),
        ("Look at your sessions", "Sitzungen ansehen"),
    ),
}
