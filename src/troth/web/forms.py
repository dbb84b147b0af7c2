"""Small bodies of HTML forms and OAuth requests, read strictly."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from troth.core.errors import Malformed, TooLarge, UnsupportedMedia

MAX_BYTES = 64 * 1024
MAX_FIELDS = 60

_TYPE = "application/x-www-form-urlencoded"

Pairs = list[tuple[str, str]]


async def read_form(request: Request) -> Pairs:
    """The fields in the order in which they came. Raises UnsupportedMedia, TooLarge or Malformed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _TYPE:
        raise UnsupportedMedia(f"Send the form as {_TYPE}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise TooLarge("The form is too large.")
    try:
        return read_pairs(body.decode("ascii"))
    except UnicodeDecodeError:
        raise Malformed("The form is not properly encoded.") from None


def read_pairs(text: str) -> Pairs:
    """The fields of a query or form. Raises Malformed."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Malformed("There are too many fields, or they are not properly encoded.") from None


def read_query(request: Request) -> Pairs:
    """The fields of the query. Raises Malformed."""
    return read_pairs(request.url.query)


def once(pairs: Pairs) -> dict[str, str]:
    """Fields by name, empty ones left out. Raises Malformed when one occurs twice: two readers of it could
    see two requests (RFC 6749 section 3.1)."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Malformed("A field occurs more than once.")
    return {name: value for name, value in pairs if value}
