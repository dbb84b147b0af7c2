"""One's own account: sessions and connected applications."""

TEXTS: dict[str, tuple[str, str]] = {
    "your_account": ("Your account", "Ihr Konto"),
    "your_sessions": ("Your sessions", "Ihre Sitzungen"),
    "your_sessions_more": (
        "You are signed in here. End whatever you do not recognise, and change your password then.",
        "Hier sind Sie angemeldet. Beenden Sie, was Sie nicht kennen, und ändern Sie dann Ihr Passwort.",
    ),
    "this_session": ("This browser", "Dieser Browser"),
    "unknown_device": ("A browser that does not say which", "Ein Browser, der sich nicht nennt"),
    "signed_in_on": ("Signed in", "Angemeldet"),
    "last_used": ("Last used", "Zuletzt benutzt"),
    "from_network": ("From the network", "Aus dem Netz"),
    "on_domain": ("On", "Auf"),
    "end_this": ("End this session", "Diese Sitzung beenden"),
    "end_others": ("End all other sessions", "Alle anderen Sitzungen beenden"),
    "end_everywhere": ("Sign out everywhere", "Überall abmelden"),
    "prove_first": (
        "You signed in a while ago: you will be asked to sign in again before another session ends.",
        "Ihre Anmeldung ist eine Weile her: Bevor eine andere Sitzung endet, melden Sie sich erneut an.",
    ),
    "done_ended": ("It is ended.", "Beendet."),
    "done_disconnected": ("The application is disconnected.", "Die Anwendung ist getrennt."),
    "connected_applications": ("Connected applications", "Verbundene Anwendungen"),
    "no_connected_applications": (
        "You have connected no application.",
        "Sie haben keine Anwendung verbunden.",
    ),
    "connected_since": ("Connected {at}", "Verbunden {at}"),
    "may": ("It may:", "Sie darf:"),
    "disconnect": ("Disconnect {client}", "{client} trennen"),
}
