"""The real command line with the toy platform behind it: `python toy_troth.py [descendants] VERB …`.

`descendants` stands for a machine that forbids namespaces.
"""

import sys
from pathlib import Path

from troth.cli import main
from troth.hosting import isolation, start

start.PLATFORM = (sys.executable, "-I", str(Path(__file__).with_name("toy_platform.py")))

if sys.argv[1] == "descendants":
    del sys.argv[1]
    isolation.probe = lambda: isolation.Machine(root=False, pid_namespace=False, user_namespace=False)

main()
