"""`troth scale`: how many instances a service has, by a person's word or by its load."""

from pathlib import Path

from troth.cli.administration import ask_platform, show
from troth.core.errors import UsageError


def set_number(state: Path, service: str, number: str, *, json: bool) -> None:
    """Returns once there are so many. Raises UsageError, PlatformError."""
    if number != "auto" and not (number.isascii() and number.isdigit()):
        raise UsageError(f"{number!r} is no number of instances.", hint="Write a number, or auto.")
    wanted = None if number == "auto" else int(number)
    answer = ask_platform(state, "scaling.set", service=service, number=wanted)
    show(answer, json=json, people=_tell)


def _tell(answer: dict[str, object]) -> str:
    how = "follow the load" if answer["mode"] == "auto" else "stay so many"
    return f"{answer['service']} has {answer['instances']} instances; they {how}."
