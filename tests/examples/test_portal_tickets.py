"""Reporting something and following it; what the management makes of it."""

from datetime import timedelta

import httpx
from starlette.requests import Request
from starlette.responses import Response

from support.portal import ANNA, NOW, TICKET, Visitor
from support.portal_api import FakeDataApi, Stored, problem


def put_ticket(api: FakeDataApi, title: str = "Radiator stays cold", **content: object) -> Stored:
    content = {"category": "heating", "urgency": "normal", "location": "Flat 12", **content}
    return api.put("tickets", ANNA, NOW - timedelta(hours=3), title=title, **content)


async def test_a_ticket_is_filed_and_found_again(anna: Visitor) -> None:
    form = await anna.get("/tickets/new")
    sent = await anna.post("/tickets", TICKET | {"key": form.hidden("key")})
    page = await anna.follow(sent)

    assert page.heading == "Radiator stays cold"
    assert "your report has arrived" in page.text
    assert "Since Friday. I am at home after five." in page.text
    assert "Reported by Anna Weber" in page.text
    for path in ("/", "/tickets", "/tickets?status=open"):
        assert "Radiator stays cold" in (await anna.get(path)).text


async def test_a_form_sent_twice_files_one_ticket(anna: Visitor, api: FakeDataApi) -> None:
    fields = TICKET | {"key": (await anna.get("/tickets/new")).hidden("key")}
    first, second = await anna.post("/tickets", fields), await anna.post("/tickets", fields)

    assert first.response.headers["location"] == second.response.headers["location"]
    assert len(api.documents["tickets"]) == 1


async def test_two_forms_file_two_tickets(anna: Visitor, api: FakeDataApi) -> None:
    for _ in range(2):
        await anna.post("/tickets", TICKET | {"key": (await anna.get("/tickets/new")).hidden("key")})

    assert len(api.documents["tickets"]) == 2


async def test_what_is_missing_is_said_and_what_was_typed_is_kept(anna: Visitor, api: FakeDataApi) -> None:
    page = await anna.post("/tickets", {"title": "ab", "description": "It <drips> & drips", "key": "mine"})

    assert page.status == 422
    assert "<title>Please check: Report something" in page.source
    assert '<a href="#category">Choose what it is about.</a>' in page.source
    assert 'id="location-fault"' in page.source
    assert 'aria-describedby="title-hint title-fault" aria-invalid="true"' in page.source
    assert 'value="ab"' in page.source
    assert "It &lt;drips&gt; &amp; drips</textarea>" in page.source
    assert api.seen == []


async def test_a_field_of_ones_own_is_left_behind(anna: Visitor, api: FakeDataApi) -> None:
    await anna.post("/tickets", TICKET | {"status": "done", "reporter": "Somebody else", "answer": "Done!"})

    stored = api.documents["tickets"][0].content
    assert (stored.get("status"), stored["reporter"], stored.get("answer")) == (None, "Anna Weber", None)


async def test_what_the_api_refuses_is_shown_beside_its_field(anna: Visitor, api: FakeDataApi) -> None:
    fault = {"pointer": "/location", "detail": "no such flat"}
    api.intervene = lambda _: problem(422, "invalid", errors=[fault])
    page = await anna.post("/tickets", TICKET)

    assert page.status == 422
    assert '<a href="#location">' in page.source
    assert "Radiator stays cold" in page.source


async def test_after_a_broken_connection_the_same_form_is_safe_to_send_again(
    anna: Visitor, api: FakeDataApi
) -> None:
    fields = TICKET | {"key": (await anna.get("/tickets/new")).hidden("key")}

    def lose_the_answer(request: Request) -> Response | None:
        if request.method == "POST":
            stored = api.put(
                "tickets", ANNA, NOW, title="Radiator stays cold", category="heating", urgency="low"
            )
            api.keys[fields["key"]] = (sent_content(), stored.id)
            raise httpx.ReadTimeout("the answer was lost")
        return None

    def sent_content() -> dict[str, object]:
        typed = {name: value.replace("\r\n", "\n") for name, value in TICKET.items()}
        return {**typed, "reporter": "Anna Weber"}

    api.intervene = lose_the_answer
    page = await anna.post("/tickets", fields)
    assert page.status == 503
    assert "We cannot tell whether this arrived" in page.text
    assert page.hidden("key") == fields["key"]

    api.intervene = lambda _: None
    await anna.follow(await anna.post("/tickets", fields))
    assert len(api.documents["tickets"]) == 1


async def test_a_key_that_was_used_for_something_else_is_replaced(anna: Visitor) -> None:
    fields = TICKET | {"key": (await anna.get("/tickets/new")).hidden("key")}
    await anna.post("/tickets", fields)
    page = await anna.post("/tickets", fields | {"title": "Another thing"})

    assert page.status == 409
    assert "already stored" in page.text
    assert page.hidden("key") != fields["key"]
    assert 'value="Another thing"' in page.source


async def test_the_list_leads_on_page_by_page(anna: Visitor, api: FakeDataApi) -> None:
    for number in range(60):
        put_ticket(api, f"Ticket number {number:02}")
    page = await anna.get("/tickets")
    assert "Ticket number 59" in page.text
    assert "Ticket number 34" not in page.text

    seen = page.text
    for _ in range(2):
        page = await anna.get(page.link(r"/tickets\?cursor=[^\"]*"))
        seen += page.text
    assert all(f"Ticket number {number:02}" in seen for number in range(60))
    assert "cursor=" not in page.source


async def test_a_filter_reads_on_until_its_page_is_full(anna: Visitor, api: FakeDataApi) -> None:
    put_ticket(api, "The one that is done", status="done")
    for number in range(120):
        put_ticket(api, f"Ticket number {number:03}")
    page = await anna.get("/tickets?status=done")

    assert "The one that is done" in page.text
    assert "Ticket number" not in page.text


async def test_a_filter_stops_at_its_bound_and_says_so(anna: Visitor, api: FakeDataApi) -> None:
    put_ticket(api, "The one that is done", status="done")
    for number in range(260):
        put_ticket(api, f"Ticket number {number:03}")
    page = await anna.get("/tickets?status=done")

    assert "None among the newest tickets" in page.text
    assert len(api.seen) == 8
    page = await anna.get(page.link(r"/tickets\?status=done&amp;cursor=[^\"]*"))
    assert "The one that is done" in page.text


async def test_a_ticket_can_be_corrected_while_it_is_open(anna: Visitor, api: FakeDataApi) -> None:
    stored = put_ticket(api, description="Since Friday")
    page = await anna.get((await anna.get(f"/tickets/{stored.id}")).link("/tickets/[^/]*/edit"))
    assert "Since Friday" in page.source

    fields = TICKET | {"version": page.hidden("version"), "description": "", "title": "Both radiators"}
    page = await anna.follow(await anna.post(f"/tickets/{stored.id}/edit", fields))
    assert page.heading == "Both radiators"
    assert "There is no further description." in page.text

    stored.content["status"] = "in_progress"
    assert "/edit" not in (await anna.get(f"/tickets/{stored.id}")).source


async def test_the_management_sets_the_status_and_answers(
    anna: Visitor, markus: Visitor, api: FakeDataApi
) -> None:
    stored = put_ticket(api)
    page = await markus.get(f"/tickets/{stored.id}")
    change = {"version": page.hidden("version"), "status": "in_progress", "answer": "On Wednesday at nine."}
    await markus.follow(await markus.post(f"/tickets/{stored.id}/progress", change))

    page = await anna.get(f"/tickets/{stored.id}")
    assert "In progress" in page.text
    assert "Answer from the management On Wednesday at nine." in page.text
    assert "Take care of it" not in page.text


async def test_somebody_elses_change_is_shown_before_it_is_overwritten(
    markus: Visitor, api: FakeDataApi
) -> None:
    stored = put_ticket(api, status="in_progress", answer="The fitter comes on Monday.")
    stored.version = 4
    mine = {"version": "3", "status": "done", "answer": "It was only the valve."}
    page = await markus.post(f"/tickets/{stored.id}/progress", mine)

    assert page.status == 409
    assert page.heading == "Somebody changed this in the meantime"
    assert "The fitter comes on Monday." in page.text
    assert "It was only the valve." in page.text
    assert stored.content["status"] == "in_progress"

    again = {name: page.hidden(name) for name in ("version", "status", "answer")}
    await markus.follow(await markus.post(f"/tickets/{stored.id}/progress", again))
    assert (stored.content["status"], stored.content["answer"]) == ("done", "It was only the valve.")


async def test_a_change_that_is_there_already_is_no_conflict(markus: Visitor, api: FakeDataApi) -> None:
    stored = put_ticket(api, status="done")
    stored.version = 2
    sent = await markus.post(f"/tickets/{stored.id}/progress", {"version": "1", "status": "done"})

    assert sent.status == 303


async def test_the_board_moves_tickets_and_returns(markus: Visitor, api: FakeDataApi) -> None:
    stored = put_ticket(api, answer="We are coming.")
    page = await markus.get("/board")
    assert "Open 1" in page.text
    move = {name: page.hidden(name) for name in ("version", "status", "back")}
    page = await markus.follow(await markus.post(f"/tickets/{stored.id}/progress", move))

    assert page.heading == "Board"
    assert "In progress 1" in page.text
    assert stored.content["answer"] == "We are coming."


async def test_the_board_is_not_for_residents(anna: Visitor) -> None:
    page = await anna.get("/board")
    assert page.status == 403
    assert page.heading == "This is not open to you"
    assert 'href="/board"' not in page.source


async def test_deleting_asks_first_and_again_after_a_change(markus: Visitor, api: FakeDataApi) -> None:
    stored = put_ticket(api)
    path = (await markus.get(f"/tickets/{stored.id}")).link("/tickets/[^/]*/delete")
    asked = await markus.get(path)
    stored.version = 2
    page = await markus.post(path, {"version": asked.hidden("version")})
    assert page.status == 409
    assert "Have a look at it before you delete it." in page.text

    await markus.follow(await markus.post(path, {"version": page.hidden("version")}))
    assert api.documents["tickets"] == []


async def test_a_resident_cannot_delete(anna: Visitor, api: FakeDataApi) -> None:
    stored = put_ticket(api)
    for page in (
        await anna.get(f"/tickets/{stored.id}/delete"),
        await anna.post(f"/tickets/{stored.id}/delete", {"version": "1"}),
    ):
        assert page.status == 403
    assert len(api.documents["tickets"]) == 1


async def test_anothers_ticket_is_not_there(anna: Visitor, api: FakeDataApi) -> None:
    stored = put_ticket(api)
    stored.owner = "somebody-else"
    page = await anna.get(f"/tickets/{stored.id}")

    assert page.status == 404
    assert page.heading == "There is nothing here"


async def test_an_empty_list_invites_to_report(anna: Visitor, markus: Visitor) -> None:
    assert "No tickets yet" in (await anna.get("/tickets")).text
    assert "Nothing is open" in (await anna.get("/")).text
    assert "Nobody in the house has reported anything" in (await markus.get("/tickets")).text
    assert "Report something" not in (await markus.get("/tickets")).text
