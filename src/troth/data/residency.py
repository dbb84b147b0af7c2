"""Where data may lie: countries of the EU and the EEA, and the providers' regions in them.

The table is a list of what is allowed. A region that is not in it is refused, also when it may lie in the EU:
nobody is helped by a guess.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from troth.core.errors import ConfigError

PROMISE = "data.residency"

EUROPEAN_UNION: dict[str, str] = {
    "AT": "Austria",
    "BE": "Belgium",
    "BG": "Bulgaria",
    "CY": "Cyprus",
    "CZ": "Czechia",
    "DE": "Germany",
    "DK": "Denmark",
    "EE": "Estonia",
    "ES": "Spain",
    "FI": "Finland",
    "FR": "France",
    "GR": "Greece",
    "HR": "Croatia",
    "HU": "Hungary",
    "IE": "Ireland",
    "IT": "Italy",
    "LT": "Lithuania",
    "LU": "Luxembourg",
    "LV": "Latvia",
    "MT": "Malta",
    "NL": "Netherlands",
    "PL": "Poland",
    "PT": "Portugal",
    "RO": "Romania",
    "SE": "Sweden",
    "SI": "Slovenia",
    "SK": "Slovakia",
}
"""The member states, by ISO 3166-1 code."""

COUNTRIES: dict[str, str] = EUROPEAN_UNION | {"IS": "Iceland", "LI": "Liechtenstein", "NO": "Norway"}
"""The European Economic Area: the Union and the three states that adopted the GDPR with it."""

REGIONS: dict[str, dict[str, str]] = {
    "AWS": {
        "eu-central-1": "DE",
        "eu-west-1": "IE",
        "eu-west-3": "FR",
        "eu-south-1": "IT",
        "eu-south-2": "ES",
        "eu-north-1": "SE",
    },
    "Azure": {
        "northeurope": "IE",
        "westeurope": "NL",
        "francecentral": "FR",
        "francesouth": "FR",
        "germanywestcentral": "DE",
        "germanynorth": "DE",
        "italynorth": "IT",
        "norwayeast": "NO",
        "norwaywest": "NO",
        "polandcentral": "PL",
        "spaincentral": "ES",
        "swedencentral": "SE",
        "austriaeast": "AT",
        "belgiumcentral": "BE",
    },
    "Google Cloud": {
        "europe-central2": "PL",
        "europe-north1": "FI",
        "europe-north2": "SE",
        "europe-southwest1": "ES",
        "europe-west1": "BE",
        "europe-west3": "DE",
        "europe-west4": "NL",
        "europe-west8": "IT",
        "europe-west9": "FR",
        "europe-west10": "DE",
        "europe-west12": "IT",
    },
    "Hetzner": {"fsn1": "DE", "nbg1": "DE", "hel1": "FI"},
    "OVHcloud": {"gra": "FR", "rbx": "FR", "sbg": "FR", "de": "DE", "waw": "PL", "eu-west-par": "FR"},
    "Scaleway": {"fr-par": "FR", "nl-ams": "NL", "pl-waw": "PL"},
    "IONOS": {"de/fra": "DE", "de/txl": "DE", "es/vit": "ES", "fr/par": "FR"},
    "Oracle Cloud": {
        "eu-amsterdam-1": "NL",
        "eu-frankfurt-1": "DE",
        "eu-madrid-1": "ES",
        "eu-marseille-1": "FR",
        "eu-milan-1": "IT",
        "eu-paris-1": "FR",
        "eu-stockholm-1": "SE",
    },
    "Open Telekom Cloud": {"eu-de": "DE", "eu-nl": "NL"},
    "DigitalOcean": {"ams3": "NL", "fra1": "DE"},
    "Leaseweb": {"nl-01": "NL", "de-01": "DE"},
    "UpCloud": {"fi-hel1": "FI", "de-fra1": "DE"},
    "Gcore": {"s-ed1": "LU", "s-darz": "DE"},
    "Huawei Cloud": {"eu-west-101": "IE"},
    "Exoscale": {"at-vie-1": "AT", "at-vie-2": "AT", "de-fra-1": "DE", "de-muc-1": "DE", "bg-sof-1": "BG"},
}

ELSEWHERE: dict[str, str] = {
    "CH": "Switzerland is in neither the EU nor the EEA. The EU has found its protection adequate, but the "
    "promise says that data never leaves the EU.",
    "GB": "The United Kingdom left the EU and the EEA.",
    "US": "The United States are outside the EU.",
    "eu-central-2": "AWS eu-central-2 is Zürich: Switzerland is in neither the EU nor the EEA.",
    "eu-west-2": "AWS eu-west-2 is London: the United Kingdom left the EU and the EEA.",
    "switzerlandnorth": "Switzerland is in neither the EU nor the EEA.",
    "switzerlandwest": "Switzerland is in neither the EU nor the EEA.",
    "uksouth": "The United Kingdom left the EU and the EEA.",
    "ukwest": "The United Kingdom left the EU and the EEA.",
    "europe-west2": "Google Cloud europe-west2 is London: the United Kingdom left the EU and the EEA.",
    "europe-west6": "Google Cloud europe-west6 is Zürich: Switzerland is in neither the EU nor the EEA.",
    "ch-gva-2": "Exoscale ch-gva-2 is Geneva: Switzerland is in neither the EU nor the EEA.",
    "ch-dk-2": "Exoscale ch-dk-2 is Zürich: Switzerland is in neither the EU nor the EEA.",
    "gb/lhr": "The United Kingdom left the EU and the EEA.",
    "uk": "The United Kingdom left the EU and the EEA.",
    "eu-zurich-1": "Oracle Cloud eu-zurich-1 is Zürich: Switzerland is in neither the EU nor the EEA.",
    "uk-london-1": "The United Kingdom left the EU and the EEA.",
    "uk-cardiff-1": "The United Kingdom left the EU and the EEA.",
    "eu-gb": "IBM Cloud eu-gb is London: the United Kingdom left the EU and the EEA.",
    "lon1": "DigitalOcean lon1 is London: the United Kingdom left the EU and the EEA.",
    "europe": "“Europe” is larger than the EU and the EEA.",
}
"""Names that sound European and are not in the EU: the ones that people get wrong."""


OWN = "own region"
"""What stands for the provider of a region that troth.toml declares."""


class Place(msgspec.Struct, frozen=True):
    """A place for data in the EU or the EEA. `country` is an ISO 3166-1 code; `provider` is empty when a
    country itself was named."""

    region: str
    country: str
    provider: str

    def __str__(self) -> str:
        name = COUNTRIES[self.country]
        return f"{self.provider} {self.region} ({name})" if self.provider else name


def check_region(
    region: str,
    *,
    key: str = "platform.region",
    file: Path | None = None,
    line: int | None = None,
    own: Mapping[str, str] | None = None,
) -> Place:
    """The place that `region` names: a country code ("IE") or a provider's region ("eu-west-1").

    A country is written in capitals; regions as their provider writes them, in any case. `own` are regions
    declared in troth.toml, by name, with their country. Raises ConfigError that names the promise
    data.residency when it lies outside the EU and the EEA, or is not known.
    """
    text = region.strip()
    if (country := (own or {}).get(text)) in COUNTRIES:
        return Place(text, str(country), OWN)
    if text in COUNTRIES:
        return Place(text, text, "")
    for provider, regions in REGIONS.items():
        if country := regions.get(text.lower()):
            return Place(text.lower(), country, provider)
    raise ConfigError(_reason(text), file=file, line=line, key=key, hint=_hint(text), promise=PROMISE)


def _reason(text: str) -> str:
    known = ELSEWHERE.get(text) or ELSEWHERE.get(text.lower())
    if known:
        return known
    if text.upper() in COUNTRIES:
        return f"“{text}” could be a country or a provider's region."
    return f"“{text[:60]}” is not known to lie in the EU or the EEA."


def _hint(text: str) -> str:
    if text.upper() in COUNTRIES:
        return f"Write “{text.upper()}” for {COUNTRIES[text.upper()]}."
    names = [name for regions in REGIONS.values() for name in regions]
    close = difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.8)
    if close and text.lower() not in ELSEWHERE:
        return f"Did you mean “{close[0]}”?"
    return "Name a place in the EU or the EEA: a country like “IE”, or a region like “eu-west-1”."
