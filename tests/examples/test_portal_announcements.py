"""News: written by the management, read by everyone, for as long as it matters."""

from datetime import timedelta

from support.portal import MARKUS, NOW, Visitor
from support.portal_api import FakeDataApi, problem

WATER = {
    "category": "maintenance",
    "title": "Water is off on Thursday",
    "body": "From nine to twelve.\r\n\r\nPlease fill a kettle.",
    "valid_until": "2026-11-26",
}


async def test_an_announcement_reaches_everyone(anna: Visitor, markus: Visitor) -> None:
    form = await markus.get("/announcements/new")
    page = await markus.follow(await markus.post("/announcements", WATER | {"key": form.hidden("key")}))
    assert "Your announcement is published." in page.text

    assert "Water is off on Thursday" in (await anna.get("/")).text
    page = await anna.get((await anna.get("/announcements")).link("/announcements/[0-9a-f-]{36}"))
    assert page.heading == "Water is off on Thursday"
    assert "Shown until 26 November 2026." in page.text
    assert "Edit" not in page.text


async def test_an_announcement_is_edited_and_its_day_taken_away(markus: Visitor, api: FakeDataApi) -> None:
    stored = api.put("announcements", MARKUS, NOW, **WATER)
    page = await markus.get(f"/announcements/{stored.id}/edit")
    assert 'value="2026-11-26"' in page.source
    fields = WATER | {"version": page.hidden("version"), "valid_until": "", "title": "Water is off on Friday"}
    page = await markus.follow(await markus.post(f"/announcements/{stored.id}/edit", fields))

    assert page.heading == "Water is off on Friday"
    assert "valid_until" not in stored.content


async def test_two_editors_see_both_versions(markus: Visitor, api: FakeDataApi) -> None:
    stored = api.put("announcements", MARKUS, NOW, **(WATER | {"title": "Water is off on Wednesday"}))
    stored.version = 2
    page = await markus.post(f"/announcements/{stored.id}/edit", WATER | {"version": "1"})

    assert page.status == 409
    assert "Water is off on Wednesday" in page.text
    assert "Water is off on Thursday" in page.text
    again = {name: page.hidden(name) for name in (*WATER, "version")}
    await markus.follow(await markus.post(f"/announcements/{stored.id}/edit", again))
    assert stored.content["title"] == "Water is off on Thursday"
    assert stored.content["body"] == "From nine to twelve.\n\nPlease fill a kettle."


async def test_what_is_over_is_hidden_from_residents_and_marked_for_the_management(
    anna: Visitor, markus: Visitor, api: FakeDataApi
) -> None:
    yesterday = (NOW - timedelta(days=1)).date().isoformat()
    api.put("announcements", MARKUS, NOW - timedelta(days=9), **(WATER | {"valid_until": yesterday}))
    for path in ("/", "/announcements"):
        assert "Water is off" not in (await anna.get(path)).text

    page = await markus.get("/announcements")
    assert "Water is off" in page.text
    assert "No longer shown" in page.text


async def test_faults_are_said_and_what_was_typed_is_kept(markus: Visitor) -> None:
    page = await markus.post("/announcements", WATER | {"valid_until": "2026-02-30", "title": "x" * 121})

    assert page.status == 422
    assert "this is not a day in the calendar" in page.text
    assert "please keep to 120 characters" in page.text
    assert "Please fill a kettle." in page.source


async def test_an_announcement_is_deleted(markus: Visitor, api: FakeDataApi) -> None:
    stored = api.put("announcements", MARKUS, NOW, **WATER)
    page = await markus.get(f"/announcements/{stored.id}/delete")
    page = await markus.follow(
        await markus.post(f"/announcements/{stored.id}/delete", {"version": page.hidden("version")})
    )

    assert "No news" in page.text


async def test_residents_write_no_announcements(anna: Visitor, api: FakeDataApi) -> None:
    assert (await anna.get("/announcements/new")).status == 403
    assert (await anna.post("/announcements", WATER)).status == 403
    assert api.documents["announcements"] == []


async def test_an_edit_survives_a_broken_connection(markus: Visitor, api: FakeDataApi) -> None:
    stored = api.put("announcements", MARKUS, NOW, **WATER)
    fields = WATER | {"version": "1", "title": "Water is off on Friday"}
    api.intervene = lambda request: problem(503, "unavailable") if request.method == "PATCH" else None
    page = await markus.post(f"/announcements/{stored.id}/edit", fields)
    assert page.status == 503
    assert "We cannot tell whether your changes arrived" in page.text
    assert 'value="Water is off on Friday"' in page.source

    api.intervene = lambda _: None
    again = fields | {"version": page.hidden("version")}
    for _ in range(2):  # as if the first had been stored and only its answer lost
        await markus.follow(await markus.post(f"/announcements/{stored.id}/edit", again))
    assert stored.version == 2


async def test_a_busy_api_keeps_what_was_typed(markus: Visitor, api: FakeDataApi) -> None:
    api.intervene = lambda _: problem(429, "too_many_requests")
    page = await markus.post("/announcements", WATER)

    assert page.status == 429
    assert "Please fill a kettle." in page.source
