"""`troth history`: how a metric went within the last hours or days."""

from pathlib import Path
from typing import Any, cast

from troth.cli.administration import ask_platform, show, table


def show_history(folder: Path, metric: str, *, hours: float, json: bool) -> int:
    """Each series with its last value, its lowest and its highest; JSON has every point."""

    def people(answer: dict[str, object]) -> Any:
        series = cast("dict[str, list[dict[str, Any]]]", answer["series"])
        rows = (
            (
                key,
                len(points),
                f"{points[-1]['mean']:g}",
                f"{min(one['low'] for one in points):g}",
                f"{max(one['high'] for one in points):g}",
            )
            for key, points in series.items()
        )
        return table(("Series", "Points", "Last", "Lowest", "Highest"), rows, empty="Nothing is known yet.")

    show(ask_platform(folder, "history", metric=metric, hours=hours), json=json, people=people)
    return 0
