"""Passwords, addresses and registration."""

TEXTS: dict[str, tuple[str, str]] = {
    "forgot": ("Forgotten your password?", "Passwort vergessen?"),
    "forgot_more": (
        "Enter the e-mail address of your account. You get a message with a link to choose a new password.",
        "Geben Sie die E-Mail-Adresse Ihres Kontos ein. Sie erhalten eine Nachricht mit einem Link, um ein "
        "neues Passwort zu wählen.",
    ),
    "send_link": ("Send the link", "Link senden"),
    "register": ("Create an account", "Konto anlegen"),
    "register_more": (
        "You get a message with a link to confirm your address and choose a password.",
        "Sie erhalten eine Nachricht mit einem Link, um Ihre Adresse zu bestätigen und ein "
        "Passwort zu wählen.",
    ),
    "only_addresses_at": ("Only for addresses at {domains}.", "Nur für Adressen bei {domains}."),
    "your_name": ("Your name", "Ihr Name"),
    "back_to_sign_in": ("Back to sign-in", "Zurück zur Anmeldung"),
    "no_email": ("Enter an e-mail address.", "Geben Sie eine E-Mail-Adresse ein."),
    "no_name": ("Enter your name.", "Geben Sie Ihren Namen ein."),
    "email_not_admitted": (
        "Nobody can register with an address of this domain here.",
        "Mit einer Adresse dieser Domain kann man sich hier nicht registrieren.",
    ),
    "look_into_mail": ("Look into your mail", "Sehen Sie in Ihr Postfach"),
    "reset_sent": (
        "If {email} belongs to an account, a message with a link is on its way to it. It is good "
        "for 30 minutes.",
        "Wenn {email} zu einem Konto gehört, ist eine Nachricht mit einem Link dorthin unterwegs. Er gilt 30 "
        "Minuten.",
    ),
    "registration_sent": (
        "A message to {email} is on its way. Follow the link in it to go on.",
        "Eine Nachricht an {email} ist unterwegs. Folgen Sie dem Link darin, um fortzufahren.",
    ),
    "link_refused": (
        "This link is not good any more: it was used, replaced by a newer one, or is too old. "
        "Ask for another.",
        "Dieser Link gilt nicht mehr: Er wurde benutzt, durch einen neueren ersetzt oder ist zu "
        "alt. Fordern Sie "
        "einen anderen an.",
    ),
    "mail_is_off": (
        "No messages are sent here. Ask whoever gave you your account for a new password.",
        "Hier werden keine Nachrichten verschickt. Bitten Sie die Person, von der Sie Ihr Konto "
        "haben, um ein "
        "neues Passwort.",
    ),
    "registration_closed": (
        "You cannot create an account here yourself. Ask for an invitation.",
        "Hier können Sie nicht selbst ein Konto anlegen. Bitten Sie um eine Einladung.",
    ),
    "email_confirmed": ("The address {email} is confirmed.", "Die Adresse {email} ist bestätigt."),
    "email_is_confirmed": ("Address confirmed", "Adresse bestätigt"),
    "confirm_email": ("Confirm your address", "Adresse bestätigen"),
    "confirm_email_more": ("Is {email} your address?", "Ist {email} Ihre Adresse?"),
    "choose_password": ("Choose a new password", "Neues Passwort wählen"),
    "choose_first_password": ("Choose a password", "Passwort wählen"),
    "choose_password_for": ("for {email}", "für {email}"),
    "new_password": ("New password", "Neues Passwort"),
    "repeat_password": ("New password again", "Neues Passwort noch einmal"),
    "current_password": ("Current password", "Bisheriges Passwort"),
    "password_hint": (
        "8 to 128 characters of any kind. A few words that do not belong together are easy to "
        "remember and hard "
        "to guess.",
        "8 bis 128 Zeichen jeder Art. Ein paar Wörter, die nicht zusammengehören, sind leicht zu merken und "
        "schwer zu erraten.",
    ),
    "ends_sessions": (
        "Every session of yours ends with it, on all devices.",
        "Damit enden alle Ihre Sitzungen, auf allen Geräten.",
    ),
    "save_password": ("Save the password", "Passwort speichern"),
    "not_the_same": ("The two new passwords differ.", "Die beiden neuen Passwörter unterscheiden sich."),
    "password_too_short": ("Use 8 characters or more.", "Verwenden Sie mindestens 8 Zeichen."),
    "password_too_long": ("Use 128 characters at most.", "Verwenden Sie höchstens 128 Zeichen."),
    "password_common": (
        "This password is among those that are tried first. Choose another one.",
        "Dieses Passwort gehört zu denen, die zuerst ausprobiert werden. Wählen Sie ein anderes.",
    ),
    "password_personal": (
        "This password is made of your name, your address or ours. Choose another one.",
        "Dieses Passwort besteht aus Ihrem Namen, Ihrer Adresse oder unserem Namen. Wählen Sie ein anderes.",
    ),
    "password_breached": (
        "This password has become known in a data breach somewhere. Choose another one.",
        "Dieses Passwort ist irgendwo durch ein Datenleck bekannt geworden. Wählen Sie ein anderes.",
    ),
    "change_password": ("Change your password", "Passwort ändern"),
    "wrong_current": ("This is not your current password.", "Das ist nicht Ihr bisheriges Passwort."),
    "password_is_changed": (
        "Your password is changed. Every other session of yours has ended.",
        "Ihr Passwort ist geändert. Alle anderen Sitzungen von Ihnen sind beendet.",
    ),
    "sign_in_with_it": (
        "Your password is changed. Sign in with it.",
        "Ihr Passwort ist geändert. Melden Sie sich damit an.",
    ),
    "welcome_sign_in": ("Your account is ready. Sign in.", "Ihr Konto ist bereit. Melden Sie sich an."),
    "change_email": ("Change your e-mail address", "E-Mail-Adresse ändern"),
    "email_now": ("At present: {email}", "Derzeit: {email}"),
    "new_email": ("New e-mail address", "Neue E-Mail-Adresse"),
    "email_link_sent": (
        "A message with a link is on its way. The address counts once the link was followed.",
        "Eine Nachricht mit einem Link ist unterwegs. Die Adresse gilt, sobald dem Link gefolgt wurde.",
    ),
    "confirm_current_email": ("Send a link to confirm {email}", "Link senden, um {email} zu bestätigen"),
}
