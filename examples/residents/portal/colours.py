"""Turns one brand colour into a palette that stays readable, in light and in dark.

A customer picks any colour; a button in it must still carry text that can be read. So the colour is taken
apart in OKLCH, where lightness means what the eye sees, and each use of it gets a lightness of its own that
keeps WCAG's contrast of 4.5 : 1. Hue and, as far as sRGB can show it, chroma stay the customer's.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

FALLBACK = "1f4e79"
_HEX = re.compile(r"[0-9a-f]{6}")


class Oklch(NamedTuple):
    """Lightness 0..1, chroma 0..~0.37, hue in radians."""

    lightness: float
    chroma: float
    hue: float


# What each custom property is made of: (name, lightness, highest chroma). The chroma of a customer's colour
# is only ever lowered, so a grey brand stays grey.
_LIGHT = (
    ("page", 0.975, 0.007),
    ("surface", 0.997, 0.002),
    ("sunken", 0.955, 0.012),
    ("line", 0.895, 0.016),
    ("line-strong", 0.62, 0.03),
    ("ink", 0.245, 0.028),
    ("ink-soft", 0.465, 0.026),
    ("brand-soft", 0.948, 0.03),
    ("brand-deep", 0.315, 0.085),
    ("brand-glow", 0.43, 0.12),
    ("on-deep", 0.985, 0.01),
    ("on-deep-soft", 0.88, 0.04),
    ("on-brand", 0.995, 0.003),
    ("brand-ink", 0.43, 0.16),
)
_DARK = (
    ("page", 0.175, 0.012),
    ("surface", 0.215, 0.015),
    ("sunken", 0.25, 0.018),
    ("line", 0.325, 0.02),
    ("line-strong", 0.6, 0.03),
    ("ink", 0.945, 0.01),
    ("ink-soft", 0.755, 0.02),
    ("brand-soft", 0.31, 0.055),
    ("brand-deep", 0.265, 0.065),
    ("brand-glow", 0.375, 0.1),
    ("on-deep", 0.97, 0.012),
    ("on-deep-soft", 0.83, 0.04),
    ("on-brand", 0.18, 0.03),
    ("brand-ink", 0.8, 0.12),
)


def accept_colour(text: str) -> str | None:
    """Six hexadecimal digits in lower case, or None. Nothing else ever reaches a stylesheet: a value with a
    brace or a semicolon in it would otherwise write rules of its own (CSS injection)."""
    text = text.removeprefix("#").lower()
    return text if _HEX.fullmatch(text) else None


def write_stylesheet(colour: str) -> str:
    """Custom properties for the brand `colour` (six hexadecimal digits) in both schemes."""
    brand = to_oklch(colour)
    light = "".join(_declarations(_palette(brand, dark=False)))
    dark = "".join(_declarations(_palette(brand, dark=True)))
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _palette(brand: Oklch, *, dark: bool) -> dict[str, str]:
    """Every property's name and colour. The button colour alone follows the customer's own lightness, as far
    as text on it allows."""
    shades = {
        name: _shade(brand, lightness, chroma) for name, lightness, chroma in (_DARK if dark else _LIGHT)
    }
    button = max(0.7, min(0.8, brand.lightness)) if dark else max(0.3, min(0.5, brand.lightness))
    step = 0.06 if dark else -0.06
    return shades | {
        "brand": _shade(brand, button, 0.2),
        "brand-strong": _shade(brand, button + step, 0.2),
    }


def _declarations(palette: dict[str, str]) -> Iterator[str]:
    return (f"--{name}:{value};" for name, value in palette.items())


def _shade(brand: Oklch, lightness: float, chroma: float) -> str:
    return to_hex(Oklch(lightness, min(chroma, brand.chroma), brand.hue))


def to_oklch(colour: str) -> Oklch:
    """From six hexadecimal digits (https://www.w3.org/TR/css-color-4/#color-conversion-code)."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (0, 2, 4))
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    lightness = 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short
    a = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return Oklch(lightness, math.hypot(a, b), math.atan2(b, a))


def to_hex(shade: Oklch) -> str:
    """`#rrggbb`, with the chroma lowered until sRGB can show the colour."""
    while True:
        channels = _channels(shade)
        if shade.chroma <= 0.001 or all(-0.0005 <= channel <= 1.0005 for channel in channels):
            return "#" + "".join(f"{round(255 * _encoded(channel)):02x}" for channel in channels)
        shade = shade._replace(chroma=shade.chroma * 0.94)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two `#rrggbb` colours, 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _channels(shade: Oklch) -> tuple[float, float, float]:
    a, b = shade.chroma * math.cos(shade.hue), shade.chroma * math.sin(shade.hue)
    long = (shade.lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (shade.lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (shade.lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _encoded(channel: float) -> float:
    channel = min(1.0, max(0.0, channel))
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
