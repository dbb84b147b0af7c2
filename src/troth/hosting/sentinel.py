"""A process that does nothing but tell how it goes: `python -m troth.hosting.sentinel PULSE`.

Probes have it killed, and have it say that it errs while a file PULSE.ill lies there, so that nothing that
serves anybody is touched.
"""

import sys
import time
from pathlib import Path

from troth.hosting.pulse import BEAT_SECONDS, Teller

ILL = ".ill"
_ANSWERS = 10


def main(arguments: list[str]) -> None:
    """For ever: as many answers a beat as an instance with a little to do, all of them errors while ill."""
    pulse = Path(arguments[0])
    ill = pulse.with_name(pulse.name + ILL)
    teller = Teller(pulse)
    served = failed = 0
    while True:
        served += _ANSWERS
        failed += _ANSWERS if ill.exists() else 0
        teller.tell(lag=0.0, served=served, failed=failed, raised=0, in_flight=0)
        time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
