"""Colours against published ratios; logos that would be more than a picture."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.core.branding import (
    MAX_LOGO_BYTES,
    READABLE,
    check_logo,
    contrast_with_white,
    darken_until_readable,
)

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@pytest.mark.parametrize(
    ("colour", "ratio"),
    [("#000000", 21.0), ("#ffffff", 1.0), ("#767676", 4.54), ("#777777", 4.48), ("#0000ff", 8.59)],
)  # fmt: skip
def test_contrast_is_what_wcag_examples_say(colour: str, ratio: float) -> None:
    assert contrast_with_white(colour) == pytest.approx(ratio, abs=0.005)


@given(COLOURS)
def test_the_darker_colour_passes_and_is_no_darker_than_needed(colour: str) -> None:
    darker = darken_until_readable(colour)
    assert contrast_with_white(darker) >= READABLE
    if contrast_with_white(colour) >= READABLE:
        assert darker == colour
    else:
        assert contrast_with_white(darker) < READABLE + 0.25


def svg(inside: str, head: str = "", attributes: str = "") -> str:
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"{head}<svg {namespaces} {attributes}>{inside}</svg>"


@pytest.mark.parametrize(
    "content",
    [
        svg('<path d="M0 0"/>'),
        svg("<g/>", head='<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->\n'),
        svg("<g/>", head='\ufeff<?xml version="1.0" encoding="utf-8" standalone="no"?>'),
        svg('<defs><linearGradient id="a"/></defs><rect fill="url(#a)"/>'),
        svg("<style>.a { fill: url( '#a' ) }</style>"),
        svg('<use xlink:href="#a"/>'),
        svg('<title>Häuser</title><n:view xmlns:n="http://drawing.example/">x</n:view>'),
    ],
)
def test_a_drawing_is_accepted(tmp_path: Path, content: str) -> None:
    (tmp_path / "logo.svg").write_text(content)
    check_logo(tmp_path / "logo.svg")


@pytest.mark.parametrize(
    "content",
    [
        svg("<script>alert(1)</script>"),
        svg('<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>'),
        svg('<s:script xmlns:s="http://www.w3.org/2000/svg">alert(1)</s:script>'),
        svg("<foreignObject/>"),
        svg('<image href="https://evil.example/pixel"/>'),
        svg('<a href="javascript:alert(1)"/>'),
        svg('<animate attributeName="href" values="javascript:alert(1)"/>'),
        svg("<g/>", attributes='onload="alert(1)"'),
        svg("<g/>", attributes='ONLOAD="alert(1)"'),
        svg('<use href="data:image/svg+xml;base64,AA"/>'),
        svg('<use xlink:href="https://evil.example/a#b"/>'),
        svg('<rect fill="url(https://evil.example/a)"/>'),
        svg("<rect style=\"fill:url( 'https://evil.example/a')\"/>"),
        svg("<style>@import 'https://evil.example/a'</style>"),
        svg("<style>a{fill:u\\72l(https://evil.example)}</style>"),
        svg("<g/>", head='<!DOCTYPE svg [<!ENTITY a "aaaa">]>'),
        svg("<g/>", head='<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="a.xsl"?>'),
        svg("<g/>", head='<?xml version="1.0" encoding="iso-2022-jp"?>'),
        svg("<g/>", head="<?a <!-- ?><!DOCTYPE svg []><!-- -->"),
        svg("<style><![CDATA[ a ]]></style>"),
        '<svg><path d="M0 0"/></svg>',
        '<html xmlns="http://www.w3.org/1999/xhtml"/>',
        "<svg",
        "",
    ],
)
def test_a_logo_that_is_more_than_a_drawing_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "logo.svg").write_text(content)
    with pytest.raises(ValueError, match="logo"):
        check_logo(tmp_path / "logo.svg")


def test_a_logo_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_bytes(svg("<script/>").encode("utf-16"))
    with pytest.raises(ValueError, match="logo"):
        check_logo(tmp_path / "logo.svg")


def test_a_png_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    check_logo(tmp_path / "logo.png")
    (tmp_path / "logo.png").write_text(svg("<script/>"))
    with pytest.raises(ValueError, match="no PNG"):
        check_logo(tmp_path / "logo.png")


def test_another_kind_of_file_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "logo.gif").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="neither"):
        check_logo(tmp_path / "logo.gif")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(MAX_LOGO_BYTES))
    with pytest.raises(ValueError, match="larger"):
        check_logo(tmp_path / "logo.png")
