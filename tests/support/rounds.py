"""How often the faults of `make chaos` are repeated, and where their figures go."""

import os

import pytest

ROUNDS = int(os.environ.get("TROTH_CHAOS_ROUNDS", "5"))

in_many_rounds = pytest.mark.skipif(ROUNDS == 1, reason="only with many rounds: make chaos")
"""Too long for the short form."""


def tell(capsys: pytest.CaptureFixture[str], figures: str) -> None:
    """Print a measurement past pytest's capture: it belongs into the log of every run."""
    with capsys.disabled():
        print(f"\n    measured: {figures}")  # noqa: T201 - the one place where tests print
