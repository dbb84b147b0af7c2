"""A domain's colour as a small palette that stays readable on light and on dark pages."""

import re

from troth.access.tenants import Branding

FALLBACK = "#1f4e79"

TEXT_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3 (AA)."""

_LIGHT_PAGE = "#ffffff"
_DARK_PAGE = "#171a1f"
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def stylesheet(branding: Branding) -> str:
    """Custom properties of one domain, for both colour schemes."""
    colour = branding.colour if _HEX.fullmatch(branding.colour) else FALLBACK
    light = readable_on(colour, _LIGHT_PAGE)
    dark = readable_on(colour, _DARK_PAGE)
    return (
        f":root{{{_properties(colour, light)}}}\n"
        f"@media (prefers-color-scheme: dark){{:root{{{_properties(dark, dark)}}}}}\n"
    )


def _properties(fill: str, text: str) -> str:
    return f"--brand:{fill};--brand-ink:{ink_on(fill)};--brand-text:{text};"


def ink_on(colour: str) -> str:
    """White or near-black, whichever is easier to read on `colour`."""
    return max(("#ffffff", "#101214"), key=lambda ink: contrast(ink, colour))


def readable_on(colour: str, page: str) -> str:
    """`colour`, moved towards the page's opposite until text in it is readable there."""
    target = ink_on(page)
    for step in range(21):
        candidate = mix(colour, target, step / 20)
        if contrast(candidate, page) >= TEXT_CONTRAST:
            return candidate
    return target


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """`one` with a `share` of `other`, 0 to 1."""
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
