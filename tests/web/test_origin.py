"""Where requests come from, and where browsers are sent."""

from urllib.parse import urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from troth.web.origin import is_public, safe_return_to

HOSTILE = st.text(alphabet="/\\.%2ef:?#@ab \t\n\r\0é", max_size=12)


@given(st.one_of(st.text(), HOSTILE))
def test_a_return_path_never_leaves_the_origin(text: str) -> None:
    target = urlsplit(urljoin("https://app.example/login", safe_return_to(text)))
    assert (target.scheme, target.netloc) == ("https", "app.example")


@given(HOSTILE)
def test_a_return_path_is_kept_as_it_is_or_replaced(text: str) -> None:
    kept = safe_return_to(f"/{text}")
    assert kept in (f"/{text}", "/")
    assert not kept.startswith("//")
    assert "\\" not in kept


@given(HOSTILE)
def test_no_path_above_a_public_folder_is_public(text: str) -> None:
    if not is_public(f"/assets/{text}", ("/assets/",)):
        return
    # However often somebody decodes it and resolves its dots, it stays inside.
    assert urlsplit(urljoin("https://a.example/", f"/assets/{text}")).path.startswith("/assets/")
    assert ".." not in text.split("/")


def test_a_prefix_ends_at_a_slash() -> None:
    assert is_public("/help", ("/help",))
    assert is_public("/help/x", ("/help",))
    assert not is_public("/helpdesk", ("/help",))
    assert is_public("/anything", ("/",))
    assert not is_public("/anything", ())
