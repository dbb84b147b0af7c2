"""Connecting an application."""

TEXTS: dict[str, tuple[str, str]] = {
    "allow": ("Allow", "Erlauben"),
    "deny": ("Do not allow", "Nicht erlauben"),
    "connect": ("Connect {client}?", "{client} verbinden?"),
    "wants": ("{client} would like to:", "{client} möchte:"),
    "leads_to": ("Afterwards you go to {host}.", "Danach geht es weiter zu {host}."),
    "consent_ends": (
        "Access ends when you sign out.",
        "Der Zugriff endet, wenn Sie sich abmelden.",
    ),
}
