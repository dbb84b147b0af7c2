"""A domain's colour as a small palette that stays readable on light and on dark pages."""

import colorsys
import re

from troth.access.tenants import Branding

FALLBACK = "#1f4e79"

TEXT_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3 (AA)."""

SHAPE_CONTRAST = 3.0
"""WCAG 2.2, success criterion 1.4.11 (AA): the outline of a control."""

_LIGHT_PAGE = "#ffffff"
_DARK_PAGE = "#171a1f"
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def stylesheet(branding: Branding) -> str:
    """Custom properties of one domain, for both colour schemes."""
    colour = branding.colour if _HEX.fullmatch(branding.colour) else FALLBACK
    light = _properties(colour, readable_on(colour, _LIGHT_PAGE, TEXT_CONTRAST))
    on_dark = readable_on(colour, _DARK_PAGE, SHAPE_CONTRAST)
    dark = _properties(on_dark, readable_on(colour, _DARK_PAGE, TEXT_CONTRAST))
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _properties(fill: str, text: str) -> str:
    return f"--brand:{fill};--brand-ink:{ink_on(fill)};--brand-text:{text};"


def ink_on(colour: str) -> str:
    """White or black, whichever is easier to read on `colour`: one of them always is."""
    return max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, colour))


def readable_on(colour: str, page: str, wanted: float) -> str:
    """`colour`, lighter or darker until its contrast on `page` is `wanted`; hue and saturation stay."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in _channels(colour)))
    target = 1.0 if _luminance(page) < 0.5 else 0.0
    for step in range(101):
        moved = lightness + (target - lightness) * step / 100
        candidate = _hex(colorsys.hls_to_rgb(hue, moved, saturation))
        if contrast(candidate, page) >= wanted:
            return candidate
    return ink_on(page)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _hex(channels: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in channels)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
