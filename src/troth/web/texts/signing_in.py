"""Signing in and out."""

TEXTS: dict[str, tuple[str, str]] = {
    "sign_in": ("Sign in", "Anmelden"),
    "sign_in_to": ("to continue to {name}", "um zu {name} zu gelangen"),
    "sign_in_for": ("to connect {client} with {name}", "um {client} mit {name} zu verbinden"),
    "email": ("E-mail address", "E-Mail-Adresse"),
    "password": ("Password", "Passwort"),
    "there_is_a_problem": ("That did not work", "Das hat nicht geklappt"),
    "wrong": (
        "The e-mail address and password do not match. Check both and try again.",
        "E-Mail-Adresse und Passwort passen nicht zusammen. Bitte prüfen Sie beides und versuchen es erneut.",
    ),
    "missing_email": ("Enter your e-mail address.", "Geben Sie Ihre E-Mail-Adresse ein."),
    "missing_password": ("Enter your password.", "Geben Sie Ihr Passwort ein."),
    "busy": (
        "Many people are signing in right now. Wait a moment and try again.",
        "Gerade melden sich viele Menschen an. Bitte warten Sie einen Moment und versuchen es erneut.",
    ),
    "too_many_tries": (
        "There were too many tries for this address or from this network. Wait a minute and try again.",
        "Für diese Adresse oder aus diesem Netz gab es zu viele Versuche. Bitte warten Sie eine Minute und "
        "versuchen Sie es erneut.",
    ),
    "signed_out": ("You are signed out.", "Sie sind abgemeldet."),
    "signed_out_more": (
        "Every access that this session had given is closed.",
        "Alle Zugriffe, die diese Sitzung erlaubt hat, sind geschlossen.",
    ),
    "sign_out": ("Sign out", "Abmelden"),
    "sign_out_question": ("Sign out of {name}?", "Von {name} abmelden?"),
    "sign_out_more": (
        "This ends your session in this browser, and with it the access of every application that you "
        "connected in it.",
        "Damit endet Ihre Sitzung in diesem Browser und mit ihr der Zugriff jeder Anwendung, die Sie darin "
        "verbunden haben.",
    ),
    "sign_out_wish": ("{client} asks for it.", "{client} bittet darum."),
    "stay": ("Stay signed in", "Angemeldet bleiben"),
    "back": ("Back to {name}", "Zurück zu {name}"),
    "signed_in_as": ("You are signed in as {name}.", "Sie sind als {name} angemeldet."),
}
