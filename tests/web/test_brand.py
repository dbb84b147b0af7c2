"""Whatever colour a customer chooses, pages stay readable."""

import re

from hypothesis import given
from hypothesis import strategies as st

from troth.access.tenants import Branding
from troth.core.branding import contrast
from troth.web.brand import ink_on, readable_on, stylesheet

COLOURS = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


def test_contrast_is_that_of_wcag() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


@given(COLOURS)
def test_text_on_a_button_is_readable(colour: str) -> None:
    assert contrast(ink_on(colour), colour) >= 4.5


@given(COLOURS, st.sampled_from(["#ffffff", "#171a1f"]))
def test_a_colour_is_moved_until_it_can_be_read(colour: str, page: str) -> None:
    assert contrast(readable_on(colour, page, 4.5), page) >= 4.5
    if contrast(colour, page) >= 4.5:
        assert readable_on(colour, page, 4.5) == colour.lower()


@given(st.text())
def test_no_text_gets_into_the_stylesheet_by_way_of_a_colour(text: str) -> None:
    css = stylesheet(Branding("x", text))
    assert set(re.findall(r":(#[^;]*);", css)) <= set(re.findall(r"#[0-9a-f]{6}", css.lower())) | {text}
    assert css.count("{") == css.count("}") == 3
