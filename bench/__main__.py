"""`python -m bench [NAME …]`: run every comparison, or those named; `table` prints the last results."""

import subprocess
import sys

from bench.table import markdown, read_results, write_into_readme

COMPARISONS = (
    *("start", "read", "sealing", "archive", "access", "oauth", "sessions", "signin", "domains"),
    *("replicas", "backups", "restore", "edge", "keeper"),
)
"""Each is a module of this package with a `main`; each runs in a process of its own, one after the other."""


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 when a comparison could not be carried out, whatever its figures."""
    if arguments == ["table"]:
        print(markdown(read_results()))
        return 0
    if arguments == ["readme"]:
        write_into_readme()
        return 0
    unknown = [name for name in arguments if name not in COMPARISONS]
    if unknown:
        print(
            f"No such comparison: {', '.join(unknown)}. There are: {', '.join(COMPARISONS)}, table, readme."
        )
        return 2
    failed = [name for name in arguments or COMPARISONS if not run(name)]
    print()
    print(markdown(read_results()))
    for name in failed:
        print(f"{name} could not be measured.")
    return 1 if failed else 0


def run(name: str) -> bool:
    """Whether the comparison came to its end."""
    print(f"== {name}", flush=True)
    return subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
