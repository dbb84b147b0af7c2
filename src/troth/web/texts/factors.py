"""The second factor, step-up and the security page."""

TEXTS: dict[str, tuple[str, str]] = {
    "or": ("or", "oder"),
    "use_passkey": ("Use a passkey", "Passkey verwenden"),
    "passkey_failed": (
        "The passkey was not used. You can try again or choose another way.",
        "Der Passkey wurde nicht verwendet. Sie können es erneut versuchen oder einen anderen Weg wählen.",
    ),
    "passkey_known": (
        "This device has a passkey for your account already.",
        "Auf diesem Gerät gibt es schon einen Passkey für Ihr Konto.",
    ),
    "needs_script": (
        "Passkeys need JavaScript, which is switched off in your browser.",
        "Passkeys brauchen JavaScript, das in Ihrem Browser ausgeschaltet ist.",
    ),
    "second_factor": ("One more step", "Noch ein Schritt"),
    "second_factor_more": (
        "Your password was right. Please show that it is you.",
        "Ihr Passwort stimmt. Bitte zeigen Sie noch, dass Sie es sind.",
    ),
    "app_code": ("Code from your authenticator app", "Code aus Ihrer Authenticator-App"),
    "app_code_hint": (
        "Six digits that change every 30 seconds.",
        "Sechs Ziffern, die alle 30 Sekunden wechseln.",
    ),
    "continue": ("Continue", "Weiter"),
    "use_recovery_code": (
        "Use a recovery code instead",
        "Stattdessen einen Wiederherstellungscode verwenden",
    ),
    "recovery_code": ("Recovery code", "Wiederherstellungscode"),
    "recovery_code_hint": (
        "24 letters and digits. Each code is good once.",
        "24 Buchstaben und Ziffern. Jeder Code gilt einmal.",
    ),
    "passkey_elsewhere": (
        "Your passkey belongs to another address of {name}. Use a recovery code here.",
        "Ihr Passkey gehört zu einer anderen Adresse von {name}. Verwenden Sie hier einen "
        "Wiederherstellungscode.",
    ),
    "start_again": ("Sign in as somebody else", "Als jemand anderes anmelden"),
    "wrong_code": (
        "This does not fit. Check the code, or wait for the next one: each code is good once.",
        "Das passt nicht. Prüfen Sie den Code oder warten Sie auf den nächsten: Jeder Code gilt einmal.",
    ),
    "wrong_password": ("The password does not fit.", "Das Passwort stimmt nicht."),
    "wrong_passkey": (
        "The passkey could not be accepted. Please try again.",
        "Der Passkey konnte nicht angenommen werden. Bitte versuchen Sie es erneut.",
    ),
    "too_many_codes": (
        "There were too many tries. Wait a moment and try again.",
        "Das waren zu viele Versuche. Bitte warten Sie einen Moment und versuchen Sie es erneut.",
    ),
    "pending_over": (
        "That took too long, or there were too many tries. Please sign in again.",
        "Das hat zu lange gedauert, oder es waren zu viele Versuche. Bitte melden Sie sich erneut an.",
    ),
    "enrol": ("Protect your account", "Schützen Sie Ihr Konto"),
    "enrol_more": (
        "{name} asks for more than a password. Choose one way; you can add others later.",
        "{name} verlangt mehr als ein Passwort. Wählen Sie einen Weg; weitere können Sie später hinzufügen.",
    ),
    "make_passkey": ("Create a passkey", "Passkey anlegen"),
    "make_passkey_more": (
        "Sign in with your fingerprint, face or screen lock. Nobody can trick you out of it.",
        "Anmelden mit Fingerabdruck, Gesicht oder Bildschirmsperre. Niemand kann ihn Ihnen abschwatzen.",
    ),
    "passkey_name": ("Name of this device", "Name dieses Geräts"),
    "set_up_app": ("Set up an authenticator app", "Authenticator-App einrichten"),
    "set_up_app_more": (
        "Scan this picture with the app, or type the key. Then enter the code that it shows.",
        "Scannen Sie dieses Bild mit der App oder tippen Sie den Schlüssel ein. Geben Sie dann den Code ein, "
        "den sie zeigt.",
    ),
    "qr_code": ("QR code with the key below", "QR-Code mit dem Schlüssel darunter"),
    "key": ("Key", "Schlüssel"),
    "recovery_codes": ("Recovery codes", "Wiederherstellungs\u00adcodes"),
    "recovery_codes_once": (
        "Write these codes down or print them, and keep them in a safe place. They are shown this once, and "
        "each lets you in once if you lose your device.",
        "Schreiben Sie diese Codes auf oder drucken Sie sie aus, und bewahren Sie sie sicher auf. Sie werden "
        "nur dieses eine Mal gezeigt; jeder lässt Sie einmal hinein, wenn Sie Ihr Gerät verlieren.",
    ),
    "codes_kept": ("I have kept them", "Ich habe sie aufbewahrt"),
    "step_up": ("Please confirm that it is you", "Bitte bestätigen Sie, dass Sie es sind"),
    "step_up_more": (
        "What comes next is sensitive, so we ask again.",
        "Was jetzt kommt, ist heikel. Deshalb fragen wir noch einmal.",
    ),
    "step_up_second": (
        "{client} asks for more than your password.",
        "{client} verlangt mehr als Ihr Passwort.",
    ),
    "step_up_first": (
        "First enter your password again. Then you set up a second factor.",
        "Geben Sie zuerst noch einmal Ihr Passwort ein. Danach richten Sie einen zweiten Faktor ein.",
    ),
    "step_up_enrol": (
        "{client} asks for more than a password, and you have set nothing else up yet. Choose one way; you "
        "can add others later.",
        "{client} verlangt mehr als ein Passwort, und Sie haben noch nichts weiter eingerichtet. Wählen Sie "
        "einen Weg; weitere können Sie später hinzufügen.",
    ),
    "step_up_decline": ("Go back without it", "Ohne zurückkehren"),
    "confirm": ("Confirm", "Bestätigen"),
    "cancel": ("Cancel", "Abbrechen"),
    "security": ("Security", "Sicherheit"),
    "security_more": (
        "How you prove that it is you, {name}.",
        "Womit Sie zeigen, dass Sie es sind, {name}.",
    ),
    "passkeys": ("Passkeys", "Passkeys"),
    "no_passkeys": ("You have no passkey yet.", "Sie haben noch keinen Passkey."),
    "app": ("Authenticator app", "Authenticator-App"),
    "app_since": ("Set up on {at}.", "Eingerichtet am {at}."),
    "no_app": ("No app is set up.", "Es ist keine App eingerichtet."),
    "remove": ("Remove", "Entfernen"),
    "remove_app": ("Remove the app", "App entfernen"),
    "rename": ("Rename", "Umbenennen"),
    "new_name": ("Name of this passkey", "Name dieses Passkeys"),
    "passkey_for": ("For {domain}, since {at}.", "Für {domain}, seit {at}."),
    "passkey_used": ("Last used on {at}.", "Zuletzt verwendet am {at}."),
    "passkey_unused": ("Not used yet.", "Noch nicht verwendet."),
    "codes_left": ("{count} unused codes are left.", "{count} unbenutzte Codes sind übrig."),
    "codes_for_factor": (
        "Set up a passkey or an app first; the codes stand in for it.",
        "Richten Sie zuerst einen Passkey oder eine App ein; die Codes stehen dafür ein.",
    ),
    "new_codes": ("Make new codes", "Neue Codes erzeugen"),
    "new_codes_more": (
        "New codes make all earlier ones worthless.",
        "Neue Codes machen alle früheren wertlos.",
    ),
    "factors_off": (
        "{name} does not ask for a second factor.",
        "{name} verlangt keinen zweiten Faktor.",
    ),
    "done_added": ("It is set up.", "Eingerichtet."),
    "done_removed": ("It is removed.", "Entfernt."),
    "done_renamed": ("It is renamed.", "Umbenannt."),
    "kept_last": (
        "A second factor is required here: set another one up before you remove the last.",
        "Hier wird ein zweiter Faktor verlangt: Richten Sie einen anderen ein, bevor Sie den letzten "
        "entfernen.",
    ),
    "kept_taken": ("It is set up already.", "Das ist schon eingerichtet."),
    "kept_full": (
        "You have as many passkeys as one person may have. Remove one first.",
        "Mehr Passkeys kann eine Person nicht haben. Entfernen Sie zuerst einen.",
    ),
    "kept_unknown": ("It is not there any more.", "Das gibt es nicht mehr."),
}
