"""The command line. Exit status 0: done; 1: a promise is broken or work failed; 2: wrong usage."""

import sys

INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C ended."""


def main() -> None:
    """The program `troth`."""
    try:
        _run()
    except KeyboardInterrupt:  # while the verb was being looked up; once it runs, it answers Ctrl-C itself
        sys.exit(INTERRUPTED)


def _run() -> None:
    from troth.cli.screen import say_error
    from troth.cli.verbs import app
    from troth.core.errors import PlatformError, TrothError, UsageError

    try:
        app()
    except TrothError as error:
        say_error(error)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        say_error(PlatformError(f"{error.filename or 'The system'}: {error.strerror or error}."))
        sys.exit(1)
