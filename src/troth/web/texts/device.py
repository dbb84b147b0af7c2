"""Connecting a device that has no browser, or no keyboard."""

TEXTS: dict[str, tuple[str, str]] = {
    "device_title": ("Connect a device", "Ein Gerät verbinden"),
    "device_lead": (
        "Type the code that your device shows.",
        "Geben Sie den Code ein, den Ihr Gerät anzeigt.",
    ),
    "device_code": ("Code", "Code"),
    "device_hint": ("Eight letters, for example BCDF-GHJK", "Acht Buchstaben, zum Beispiel BCDF-GHJK"),
    "device_next": ("Continue", "Weiter"),
    "device_unknown": (
        "No device is waiting with this code. Codes are good for ten minutes.",
        "Mit diesem Code wartet kein Gerät. Ein Code gilt zehn Minuten.",
    ),
    "device_nothing": (
        "Your account may do nothing of what this device asks for.",
        "Ihr Konto darf nichts von dem, was dieses Gerät möchte.",
    ),
    "device_compare": (
        "Is this the code on the device in front of you?",
        "Steht dieser Code auf dem Gerät vor Ihnen?",
    ),
    "device_warning_title": ("Only if you began this yourself", "Nur wenn Sie das selbst begonnen haben"),
    "device_warning": (
        "Did somebody send you this code or link, or read it to you on the phone? Then do not allow it: they "
        "would act in your name. We never send such codes.",
        "Hat Ihnen jemand diesen Code oder Link geschickt oder am Telefon vorgelesen? Dann erlauben Sie es "
        "nicht: Diese Person würde in Ihrem Namen handeln. Wir verschicken solche Codes nie.",
    ),
    "device_allowed_title": ("The device is connected", "Das Gerät ist verbunden"),
    "device_allowed": (
        "You can close this page and go on at the device. Access ends when you sign out here.",
        "Sie können diese Seite schließen und am Gerät weitermachen. Der Zugriff endet, wenn Sie sich hier "
        "abmelden.",
    ),
    "device_denied_title": ("The device was refused", "Das Gerät wurde abgelehnt"),
    "device_denied": (
        "It cannot do anything in your name.",
        "Es kann nichts in Ihrem Namen tun.",
    ),
    "device_late": (
        "This code is over, or was decided on already. Begin again at the device.",
        "Dieser Code ist abgelaufen oder schon entschieden. Beginnen Sie am Gerät von vorn.",
    ),
}
