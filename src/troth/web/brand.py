"""A domain's colour as a small palette that stays readable on light and on dark pages."""

import colorsys
from html import escape

from troth.access.tenants import Branding
from troth.core.branding import DEFAULT_COLOUR, READABLE, channels, contrast, is_colour, luminance

SHAPE_CONTRAST = 3.0
"""WCAG 2.2, success criterion 1.4.11 (AA): the outline of a control."""

_LIGHT_PAGE = "#ffffff"
_DARK_PAGE = "#171a1f"


def stylesheet(branding: Branding) -> str:
    """Custom properties of one domain, for both colour schemes."""
    colour = branding.colour if is_colour(branding.colour) else DEFAULT_COLOUR
    light = _properties(colour, readable_on(colour, _LIGHT_PAGE, READABLE))
    on_dark = readable_on(colour, _DARK_PAGE, SHAPE_CONTRAST)
    dark = _properties(on_dark, readable_on(colour, _DARK_PAGE, READABLE))
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def letter(branding: Branding) -> str:
    """An icon for who has no logo: the first letter of the name on the colour."""
    colour = branding.colour if is_colour(branding.colour) else DEFAULT_COLOUR
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
        f'<rect width="64" height="64" rx="16" fill="{colour}"/>'
        f'<text x="32" y="44" fill="{ink_on(colour)}" font-family="sans-serif" font-size="36"'
        f' font-weight="600" text-anchor="middle">{escape(branding.name[:1])}</text></svg>'
    )


def _properties(fill: str, text: str) -> str:
    return f"--brand:{fill};--brand-ink:{ink_on(fill)};--brand-text:{text};"


def ink_on(colour: str) -> str:
    """White or black, whichever is easier to read on `colour`: one of them always is."""
    return max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, colour))


def readable_on(colour: str, page: str, wanted: float) -> str:
    """`colour`, lighter or darker until its contrast on `page` is `wanted`; hue and saturation stay."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in channels(colour)))
    target = 1.0 if luminance(page) < 0.5 else 0.0
    for step in range(101):
        moved = lightness + (target - lightness) * step / 100
        candidate = _hex(colorsys.hls_to_rgb(hue, moved, saturation))
        if contrast(candidate, page) >= wanted:
            return candidate
    return ink_on(page)


def _hex(parts: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in parts)
