"""What the portal must not do, whatever it is sent, by people or by the API."""

import ast
import asyncio
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from portal.api import ANSWER_BYTES
from portal.colours import contrast, write_stylesheet
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from support.portal import ANNA, MANAGER, MARKUS, NOW, RESIDENT, TICKET, Visitor, anna_of, visitor
from support.portal_api import HOST, FakeDataApi, make_token, problem

PORTAL = Path(__file__).parents[2] / "examples" / "residents" / "portal"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "{{ 7 * 7 }}{% raw %}",
    "</textarea></title><svg/onload=alert(1)>",
    "javascript:alert(1)",
)
OUR_TAGS = frozenset(
    [
        "a",
        "article",
        "aside",
        "body",
        "button",
        "circle",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "head",
        "header",
        "html",
        "img",
        "input",
        "label",
        "legend",
        "li",
        "link",
        "main",
        "meta",
        "nav",
        "ol",
        "p",
        "path",
        "section",
        "small",
        "span",
        "strong",
        "summary",
        "svg",
        "table",
        "tbody",
        "td",
        "textarea",
        "th",
        "thead",
        "time",
        "title",
        "tr",
        "ul",
        "caption",
    ]
)
PATHS = ("/", "/tickets", "/tickets/new", "/board", "/announcements", "/announcements/new", "/nothing/here")


async def test_who_is_not_signed_in_is_sent_to_sign_in_and_back(portal: ASGIApp, api: FakeDataApi) -> None:
    page = await visitor(portal, "").get("/tickets?status=open")

    assert page.status == 303
    assert page.response.headers["location"] == "/login?return_to=/tickets%3Fstatus%3Dopen"
    assert api.seen == []


async def test_a_session_that_ended_leads_to_sign_in(anna: Visitor, api: FakeDataApi) -> None:
    api.intervene = lambda _: problem(401, "unauthenticated")
    page = await anna.get("/announcements")
    assert page.response.headers["location"] == "/login?return_to=/announcements"

    page = await anna.post("/tickets", TICKET)
    assert page.response.headers["location"] == "/login?return_to=/"


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_hostile_text_stays_text(portal: ASGIApp, api: FakeDataApi, hostile: str) -> None:
    fields = dict.fromkeys(("title", "description", "location", "answer", "reporter", "category"), hostile)
    ticket = api.put("tickets", ANNA, NOW, urgency=hostile, status=hostile, **fields)
    news = api.put("announcements", MARKUS, NOW, title=hostile, body=hostile, category=hostile)
    ticket.version = news.version = 2
    who = visitor(portal, make_token(ANNA, *MANAGER), person=hostile, brand=hostile)
    stale = {"version": "1", "status": "done", "answer": f"{hostile} mine"}
    pages = [await who.get(path) for path in PATHS]
    pages += [await who.get(f"/tickets/{ticket.id}{end}") for end in ("", "/delete")]
    pages += [await who.get(f"/announcements/{news.id}{end}") for end in ("", "/edit", "/delete")]
    pages += [await who.post(f"/tickets/{ticket.id}/progress", stale)]
    pages += [await who.post("/announcements", {"title": hostile, "body": ""})]

    for page in pages:
        for tag, attributes in Markup(page.source).elements:
            assert tag in OUR_TAGS
            assert not any(name.startswith("on") for name in attributes)
            assert tag != "img" or attributes["src"] == "/troth-assets/logo"
            assert "javascript:" not in (attributes.get("href") or "")


class Markup(HTMLParser):
    """The elements of a page, as a browser would see them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


async def test_every_answer_carries_the_security_headers(anna: Visitor, api: FakeDataApi) -> None:
    pages = [await anna.get(path) for path in (*PATHS, "/assets/brand.css?c=2c6e49", "/assets/brand.css?c=x")]
    api.intervene = lambda _: PlainTextResponse("", 500)
    pages += [await anna.get("/"), await anna.post("/tickets", TICKET)]

    for page in pages:
        headers = page.response.headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; style-src 'self'; img-src 'self'"
        )
        assert "script-src" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        kept = "immutable" in headers["cache-control"]
        assert kept == (page.response.url.path.startswith("/assets/") and page.status == 200)


def test_no_template_needs_what_the_policy_forbids() -> None:
    for template in PORTAL.glob("templates/*.html"):
        source = template.read_text()
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org)", source), (
            template
        )
        # The one exception draws the portal's own shapes, chosen by a word from a fixed list.
        assert source.count("|safe") == (1 if template.name == "icons.html" else 0), template


async def test_the_token_goes_to_the_api_and_never_to_the_browser(anna: Visitor, api: FakeDataApi) -> None:
    token = make_token(ANNA, *RESIDENT)
    pages = [await anna.get(path) for path in PATHS]

    assert not any(token in page.source + str(page.response.headers) for page in pages)
    for request, _ in api.seen:
        assert request.headers["authorization"] == f"Bearer {token}"
        assert request.headers["host"] == HOST
        assert request.headers["x-request-id"] == "7d7b2c5e-3c1f-4a6e-9a53-2f4f0f5f1f11"
        assert "cookie" not in request.headers


async def test_a_cookie_is_not_passed_on(anna: Visitor, api: FakeDataApi) -> None:
    await anna.get("/", Cookie="taste=sweet")
    assert all("cookie" not in request.headers for request, _ in api.seen)


@pytest.mark.parametrize("token", ["x", "a.b.c", "a.e30.c", "a.bnVsbA.c", "a.W10.c", "a.////.c", "é.é.é"])
async def test_a_token_that_is_none_shows_no_button_and_no_traceback(portal: ASGIApp, token: str) -> None:
    headers = {b"authorization": b"Bearer " + token.encode(), b"host": HOST.encode()}
    client = httpx.AsyncClient(transport=httpx.ASGITransport(portal), base_url="https://x")
    answer = await client.get("/tickets/new", headers=list(headers.items()))
    assert answer.status_code == 403


def broken_answers() -> dict[str, Response]:
    """What an API in trouble may say."""
    return {
        "internal": PlainTextResponse("Traceback (most recent call last): secret", 500),
        "unavailable": problem(503, "unavailable"),
        "html": PlainTextResponse("<h1>Bad gateway</h1>", 502),
        "redirect": Response(status_code=307, headers={"location": "https://elsewhere.example/"}),
        "not json": PlainTextResponse("hello", 200),
        "not a list": PlainTextResponse('{"items": 3}', 200),
        "not documents": PlainTextResponse('{"items": [{"title": "x"}], "next": null}', 200),
        "null": PlainTextResponse("null", 200),
        "deep": PlainTextResponse("[" * 100_000, 200),
        "large": PlainTextResponse('"' + "x" * ANSWER_BYTES + '"', 200),
    }


@pytest.mark.parametrize("kind", broken_answers())
async def test_an_api_in_trouble_becomes_a_page(anna: Visitor, api: FakeDataApi, kind: str) -> None:
    api.intervene = lambda _: broken_answers()[kind]
    page = await anna.get("/announcements")

    assert page.status == 503
    assert page.heading == "We cannot reach your data right now"
    assert "7d7b2c5e-3c1f-4a6e-9a53-2f4f0f5f1f11" in page.text
    assert "Traceback" not in page.source
    assert "Try again" in page.text


async def test_a_fault_of_our_own_becomes_a_page(portal: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("portal.words.Words.greeting", fail)
    page = await anna_of(portal).get("/")
    assert (page.status, page.heading) == (500, "Something went wrong on our side")
    assert "secret" not in page.source
    assert "7d7b2c5e-3c1f-4a6e-9a53-2f4f0f5f1f11" in page.text


@pytest.mark.parametrize(
    ("status", "shown", "heading"),
    [
        (403, 403, "This is not open to you"),
        (404, 404, "There is nothing here"),
        (429, 429, "A moment, please"),
        (400, 400, "We could not read this"),
    ],
)
async def test_a_refusal_of_the_api_becomes_a_page(
    anna: Visitor, api: FakeDataApi, status: int, shown: int, heading: str
) -> None:
    api.intervene = lambda _: problem(status, "whatever")
    page = await anna.get("/announcements")
    assert (page.status, page.heading) == (shown, heading)


async def test_forms_are_bounded(anna: Visitor, api: FakeDataApi) -> None:
    send = anna.client.post
    large = await send("/tickets", data={"title": "x" * 200_000})
    many = await send("/tickets", data={f"field{number}": "x" for number in range(40)})
    json = await send("/tickets", json={"title": "x"})
    garbled = await send(
        "/tickets", content=b"title=\xff\xfe", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert [answer.status_code for answer in (large, many, json, garbled)] == [413, 400, 415, 400]
    assert api.seen == []


@pytest.mark.parametrize("path", ["/tickets?cursor=" + "x" * 3000, "/tickets?cursor=nonsense", "/tickets/7"])
async def test_an_address_that_leads_nowhere_says_so(anna: Visitor, path: str) -> None:
    assert (await anna.get(path)).status in (400, 404)


@pytest.mark.parametrize(
    "colour",
    ["", "red", "2c6e4", "2c6e499", "2c6e4g", "}body{display:none", "2c6e49;}", "%23ff000", "２c6e49"],
)
async def test_nothing_but_a_colour_reaches_the_stylesheet(anna: Visitor, colour: str) -> None:
    answer = await anna.client.get("/assets/brand.css", params={"c": colour})
    assert answer.status_code == 400
    assert colour not in answer.text or not colour


READ_ON = (
    ("ink", "page"),
    ("ink-soft", "page"),
    ("ink-soft", "sunken"),
    ("ink-soft", "surface"),
    ("ink-soft", "brand-soft"),
    ("brand-ink", "page"),
    ("brand-ink", "surface"),
    ("brand-ink", "brand-soft"),
    ("on-brand", "brand"),
    ("on-brand", "brand-strong"),
    ("on-deep", "brand-glow"),
    ("on-deep-soft", "brand-glow"),
    ("on-deep-soft", "brand-deep"),
    ("brand-deep", "on-deep"),
)
"""Text, and what it stands on."""


def test_every_brand_stays_readable() -> None:
    for channels in itertools.product(("00", "40", "80", "c0", "ff"), repeat=3):
        for scheme in write_stylesheet("".join(channels)).split("@media"):
            shade = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6});", scheme))
            poor = [pair for pair in READ_ON if contrast(shade[pair[0]], shade[pair[1]]) < 4.5]
            assert not poor, (channels, poor)


async def test_the_stylesheet_of_another_version_is_served_but_not_kept(anna: Visitor) -> None:
    page = await anna.get("/")
    mine = await anna.get(page.link(r"/assets/portal\.[^\"]*"))
    other = await anna.get("/assets/portal.0123456789ab.css")

    assert mine.source == other.source
    assert "immutable" in mine.response.headers["cache-control"]
    assert other.response.headers["cache-control"] == "no-store"


def test_the_portal_knows_nothing_of_the_platform() -> None:
    for path in PORTAL.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "troth" for name in names), path


async def test_two_people_never_see_each_others_pages(portal: ASGIApp, api: FakeDataApi) -> None:
    api.put("tickets", ANNA, NOW, title="Of Anna", category="water", urgency="low")
    api.put("tickets", "bob", NOW, title="Of Bob", category="water", urgency="low")
    anna, bob = anna_of(portal), visitor(portal, make_token("bob", *RESIDENT), person="Bob")

    async def look(who: Visitor, own: str, other: str) -> None:
        page = await who.get("/tickets")
        assert own in page.text
        assert other not in page.text

    looks = [look(anna, "Of Anna", "Of Bob"), look(bob, "Of Bob", "Of Anna")]
    looks += [look(anna, "Of Anna", "Of Bob"), look(bob, "Of Bob", "Of Anna")]
    await asyncio.gather(*looks)
