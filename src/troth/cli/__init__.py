"""The command line. Exit status 0: done; 1: a promise is broken or work failed; 2: wrong usage."""

import sys

from troth.cli.screen import say_error
from troth.cli.verbs import app
from troth.core.errors import PlatformError, TrothError, UsageError


def main() -> None:
    """The program `troth`."""
    try:
        app()
    except TrothError as error:
        say_error(error)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        say_error(PlatformError(f"{error.filename or 'The system'}: {error.strerror or error}."))
        sys.exit(1)
