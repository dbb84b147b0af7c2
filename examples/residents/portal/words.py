"""German and English: a small catalogue each, and dates as people write them."""

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

LANGUAGES = ("en", "de")
ZONE = ZoneInfo("Europe/Berlin")


class Words:
    """The sentences of one language. A key that is missing raises KeyError: a test reads every template."""

    def __init__(self, language: str, sentences: Mapping[str, str], *, zone: tzinfo = ZONE) -> None:
        self.language = language
        self._sentences = sentences
        self._zone = zone

    def __call__(self, key: str, **values: object) -> str:
        """The sentence `key` with `{name}` filled in; plain text, which the templates escape."""
        return self._sentences[key].format_map(values) if values else self._sentences[key]

    def __contains__(self, key: str) -> bool:
        return key in self._sentences

    def count(self, key: str, number: int) -> str:
        """`key.one` or `key.other`, by `number`."""
        return self(f"{key}.one" if number == 1 else f"{key}.other", count=number)

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(self._zone)

    def day(self, day: date, *, short: bool = False) -> str:
        """`23 November 2026`, `23. November 2026`; `short` leaves the year out."""
        month = self._sentences["months"].split()[day.month - 1]
        return self("date.short" if short else "date.day", day=day.day, month=month, year=day.year)

    def moment(self, moment: datetime, now: datetime) -> str:
        """`today, 14:05`, `yesterday, 9:12`, `3 November, 14:05`, `3 November 2025, 14:05`."""
        local, today = self.local(moment), self.local(now).date()
        near = {today: self("date.today"), today - timedelta(days=1): self("date.yesterday")}
        day = near.get(local.date()) or self.day(local, short=local.year == today.year)
        return self("date.moment", day=day, hour=local.hour, minute=f"{local.minute:02}")

    def time_tag(self, moment: datetime, now: datetime, *, clock: bool = True) -> Markup:
        """A `<time>` element that says the exact moment to machines and a friendly one to people."""
        shown = self.moment(moment, now) if clock else self.day(self.local(moment))
        return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), escape(shown))

    def greeting(self, now: datetime) -> str:
        hour = self.local(now).hour
        return self(
            "greeting.morning" if 4 <= hour < 12 else "greeting.day" if hour < 18 else "greeting.evening"
        )


def load_words(folder: Path) -> dict[str, Words]:
    """Every catalogue in `folder`, by language."""
    return {name: Words(name, json.loads((folder / f"{name}.json").read_bytes())) for name in LANGUAGES}


def choose_language(accepted: str) -> str:
    """The best of our languages for an Accept-Language header (RFC 9110 section 12.5.4), else English."""
    best, best_weight = LANGUAGES[0], 0.0
    for item in accepted.split(","):
        tag, _, parameter = item.partition(";")
        language, weight = tag.strip().lower().split("-")[0], _weight(parameter)
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0
