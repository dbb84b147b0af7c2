"""What a client domain may look like: a colour that carries white text, and a logo that is only a picture."""

import re
from pathlib import Path
from xml.etree import ElementTree

from troth.core.files import read_up_to

MAX_LOGO_BYTES = 256 * 1024

DEFAULT_COLOUR = "#1f4e79"
"""Of a domain that names none."""

READABLE = 4.5
"""WCAG 2.2, success criterion 1.4.3: the least contrast between text and what lies behind it."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = re.compile(
    rb"""\A (\xef\xbb\xbf)? <\?xml \s version=["']1\.0["']
    (\s encoding=["']utf-8["'])? (\s standalone=["']\w+["'])? \s* \?>""",
    re.IGNORECASE | re.VERBOSE,
)
_HTML = "{http://www.w3.org/1999/xhtml}"
_SVG = "{http://www.w3.org/2000/svg}"
_LINKS = ("href", "{http://www.w3.org/1999/xlink}href")
_OUTSIDE = re.compile(
    r"url\s*\(\s*['\"]?\s*(?!#)[^\s'\")]|@import|\\|expression\s*\(|javascript:", re.IGNORECASE
)

_DRAWING = frozenset(
    re.findall(
        r"\w+",
        """
        svg g defs title desc metadata style symbol use
        path rect circle ellipse line polyline polygon text tspan textPath
        linearGradient radialGradient stop pattern clipPath mask marker filter
        feGaussianBlur feOffset feBlend feColorMatrix feComposite feFlood feMerge feMergeNode feDropShadow
        """,
    )
)
"""The elements that draw. Script, foreignObject, animation, image and links are not among them."""


def is_colour(text: str) -> bool:
    """Whether this is `#rrggbb`; nothing else ever reaches a style sheet (CSS injection)."""
    return _COLOUR.fullmatch(text) is not None


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def contrast_with_white(colour: str) -> float:
    """The contrast ratio of white text on `#rrggbb`."""
    return contrast(colour, "#ffffff")


def check_colour(colour: str) -> None:
    """Raise ValueError with a sentence when this is no colour that carries white text."""
    if not is_colour(colour):
        raise ValueError("This is no colour; write it as #rrggbb, like #1f4e79.")
    ratio = contrast_with_white(colour)
    if ratio < READABLE:
        # Rounded down: a contrast of 4.499 must not read as the 4.5 that it misses.
        raise ValueError(
            f"White text on {colour} has a contrast of {int(ratio * 100) / 100:.2f}:1, less than 4.5:1. "
            f"The nearest darker colour that passes is {darken_until_readable(colour)}."
        )


def darken_until_readable(colour: str) -> str:
    """The nearest darker shade of the same hue on which white text can be read."""
    parts = channels(colour)
    for step in range(256):
        shade = "#" + "".join(f"{round(part * (255 - step) / 255):02x}" for part in parts)
        if contrast_with_white(shade) >= READABLE:
            return shade
    return "#000000"


def check_logo(file: Path) -> None:
    """Raise ValueError with a sentence when `file` is no harmless SVG or PNG, OSError when unreadable."""
    read_logo(file)


def read_logo(file: Path) -> bytes:
    """The picture itself; raises as `check_logo` does."""
    content = read_up_to(file, MAX_LOGO_BYTES)
    check_picture(content, file.suffix)
    return content


def check_picture(content: bytes, suffix: str) -> None:
    """The same for what was read already: `suffix` is its file's, `.svg` or `.png`."""
    if len(content) > MAX_LOGO_BYTES:
        raise ValueError(f"The logo is larger than {MAX_LOGO_BYTES // 1024} KiB.")
    if suffix.lower() == ".png":
        if not content.startswith(_PNG):
            raise ValueError("The logo is called .png, but it holds no PNG image.")
        return
    if suffix.lower() != ".svg":
        raise ValueError("The logo is neither an .svg nor a .png file.")
    _check_svg(content)


def _check_svg(content: bytes) -> None:
    # An entity could expand to gigabytes, or read files of this machine (XXE): none is let to the parser. A
    # processing instruction could name a style sheet that transforms the picture into a page.
    if b"<!" in re.sub(rb"<!--.*?-->", b"", content, flags=re.DOTALL) or b"<?" in _HEAD.sub(b"", content):
        raise ValueError(
            "The SVG logo has a DOCTYPE, an entity, a CDATA section or an instruction; remove it."
        )
    try:
        root = ElementTree.fromstring(content.decode("utf-8-sig"))  # noqa: S314 - no entities, see above
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"The SVG logo cannot be read: {error}.") from None
    if root.tag != _SVG + "svg":
        raise ValueError("The logo is called .svg, but its outermost element is no svg of the SVG namespace.")
    for element in root.iter():
        _check_element(element)


def _check_element(element: ElementTree.Element) -> None:
    """The logo is served from the customer's own domain: a script in it would have the domain's rights."""
    tag = str(element.tag)
    name = tag.removeprefix(_SVG)
    # What a drawing program notes in a namespace of its own means nothing to a browser; HTML does.
    if tag.startswith(_HTML) or (tag.startswith(_SVG) and name not in _DRAWING):
        raise ValueError(f"The SVG logo has an element “{name}”; only drawing elements are allowed.")
    for attribute, value in element.attrib.items():
        _check_attribute(attribute, value)
    if name == "style" and _OUTSIDE.search("".join(element.itertext())):
        raise ValueError("The style of the SVG logo reaches outside the file.")


def _check_attribute(name: str, value: str) -> None:
    if name.lower().startswith("on"):
        raise ValueError(f"The SVG logo has an event handler “{name}”.")
    if name in _LINKS and not value.strip().startswith("#"):
        raise ValueError("The SVG logo links to something outside the file.")
    if _OUTSIDE.search(value):
        raise ValueError(f"The attribute “{name}” of the SVG logo reaches outside the file.")


def luminance(colour: str) -> float:
    """How bright a colour is, from 0 to 1 (WCAG 2.2, "relative luminance")."""
    red, green, blue = (_linear(part / 255) for part in channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of `#rrggbb`, each from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _linear(part: float) -> float:
    """From sRGB's curve to light (IEC 61966-2-1)."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
