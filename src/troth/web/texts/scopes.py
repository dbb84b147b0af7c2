"""What a scope allows, as the end of "… would like to"."""

TEXTS: dict[str, tuple[str, str]] = {
    "scope_openid": ("recognise you when you come back", "Sie wiedererkennen, wenn Sie zurückkommen"),
    "scope_profile": ("see your name", "Ihren Namen sehen"),
    "scope_email": ("see your e-mail address", "Ihre E-Mail-Adresse sehen"),
    "scope_create": ("add entries to “{title}”", "Einträge in „{title}“ anlegen"),
    "scope_read": ("see all entries in “{title}”", "alle Einträge in „{title}“ sehen"),
    "scope_update": ("change all entries in “{title}”", "alle Einträge in „{title}“ ändern"),
    "scope_delete": ("delete any entry in “{title}”", "jeden Eintrag in „{title}“ löschen"),
    "scope_create_own": ("add entries of yours to “{title}”", "eigene Einträge in „{title}“ anlegen"),
    "scope_read_own": ("see your own entries in “{title}”", "Ihre eigenen Einträge in „{title}“ sehen"),
    "scope_update_own": ("change your own entries in “{title}”", "Ihre eigenen Einträge in „{title}“ ändern"),
    "scope_delete_own": (
        "delete your own entries in “{title}”",
        "Ihre eigenen Einträge in „{title}“ löschen",
    ),
    "only_fields": ("only: {fields}", "nur: {fields}"),
}
