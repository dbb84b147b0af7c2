"""What went wrong."""

TEXTS: dict[str, tuple[str, str]] = {
    "error": ("Something is not right", "Hier stimmt etwas nicht"),
    "reference": ("Reference: {id}", "Referenz: {id}"),
    "cross_site": (
        "This page was opened in an unusual way. Go back, reload it and try again.",
        "Diese Seite wurde auf ungewöhnlichem Weg geöffnet. Gehen Sie zurück, laden Sie sie neu und "
        "versuchen Sie es erneut.",
    ),
    "bad_request": (
        "The application that sent you here asked for something that cannot be granted. You can go back; "
        "nothing has happened.",
        "Die Anwendung, von der Sie kommen, hat um etwas gebeten, das nicht gewährt werden kann. Sie können "
        "zurückgehen; es ist nichts passiert.",
    ),
    "malformed": (
        "Your browser sent something that cannot be read here. Go back and try again.",
        "Ihr Browser hat etwas gesendet, das sich hier nicht lesen lässt. Gehen Sie zurück und versuchen Sie "
        "es erneut.",
    ),
    "unavailable": (
        "The service cannot answer right now. Please try again in a moment.",
        "Der Dienst kann gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
    ),
    "outcome_unknown": (
        "The service was interrupted while it carried this out, and it is not known whether it was done. Go "
        "back and look before you do it again. A sign-in can simply be begun anew; a code or a link may be "
        "used up.",
        "Der Dienst wurde unterbrochen, während er dies ausführte, und es ist nicht bekannt, ob es geschehen "
        "ist. Gehen Sie zurück und sehen Sie nach, bevor Sie es wiederholen. Eine Anmeldung können Sie "
        "einfach neu beginnen; ein Code oder ein Link ist vielleicht verbraucht.",
    ),
}
