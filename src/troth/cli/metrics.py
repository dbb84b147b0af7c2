"""`troth metrics`: every number that the keeper knows now."""

import sys
from pathlib import Path

from troth.core.state import State
from troth.hosting import control


def show_metrics(folder: Path) -> int:
    """Print them in Prometheus' text format. Raises NotRunning."""
    answer = control.ask(State(folder.resolve()).control, {"do": "metrics"})
    sys.stdout.write(str(answer["text"]))
    return 0
