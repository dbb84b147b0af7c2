"""Messages: real SMTP over real TLS, in two languages, and nothing typed breaks out of a header."""

from datetime import timedelta
from email import policy
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.access import EMAIL, House
from support.relay import running_relay, text_of
from troth.access.accounts.mail import Mailer, NotSent, compose
from troth.access.accounts.message_texts import LETTERS
from troth.access.accounts.messages import write_letter
from troth.access.tenants import Branding, Domain

LINK = "https://residents.example/account/reset?token=" + "x" * 43


def domain_named(house: House, name: str, colour: str = "#f7d154") -> Domain:
    return msgspec.structs.replace(house.domain, branding=Branding(name=name, colour=colour))


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_message_is_handed_in_over_tls(house: House, tmp_path: Path, implicit: bool) -> None:
    async with running_relay(tmp_path, implicit=implicit) as kept:
        written = write_letter("reset", "de", domain_named(house, "Lindenhof"), name="Anna", link=LINK)
        order = uuid4()
        await Mailer(kept.relay, house.access.clock).send(
            domain_named(house, "Lindenhof"), order, EMAIL, written
        )
    message = kept.last()
    assert kept.recipients == [EMAIL]
    assert message["From"] == "Lindenhof <no-reply@lindenhof.example>"
    assert message["To"] == EMAIL
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{order}@{house.domain.name}>"
    assert message["Subject"] == "Neues Passwort für Lindenhof wählen"
    assert message["Content-Language"] == "de"
    assert message["Date"]
    assert message.get_content_type() == "multipart/alternative"
    assert LINK in text_of(message)
    assert LINK in text_of(message, "html")


async def test_a_relay_whose_certificate_nobody_vouches_for_gets_nothing(
    house: House, tmp_path: Path
) -> None:
    async with running_relay(tmp_path) as kept:
        stranger = msgspec.structs.replace(kept.relay, ca=None)
        written = write_letter("reset", "en", house.domain, name="Anna", link=LINK)
        with pytest.raises(NotSent) as refused:
            await Mailer(stranger, house.access.clock).send(house.domain, uuid4(), EMAIL, written)
    assert not refused.value.lasting
    assert not kept.messages


async def test_a_wrong_password_is_ours_to_mend_and_the_message_waits(house: House, tmp_path: Path) -> None:
    async with running_relay(tmp_path) as kept:
        wrong = tmp_path / "wrong"
        wrong.write_text("not it")
        wrong.chmod(0o600)
        relay = msgspec.structs.replace(kept.relay, password_file=wrong)
        written = write_letter("reset", "en", house.domain, name="Anna", link=LINK)
        with pytest.raises(NotSent) as refused:
            await Mailer(relay, house.access.clock).send(house.domain, uuid4(), EMAIL, written)
    assert not refused.value.lasting
    assert "not it" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "lasting"),
    [
        ("550 no such mailbox anna.weber@lindenhof.example", True),
        ("451 come back", False),
        ("rcpt 550 no such mailbox anna.weber@lindenhof.example", True),
        ("rcpt 450 greylisted", False),
    ],
)
async def test_what_the_relay_refuses_is_told_without_the_address(
    house: House, tmp_path: Path, answer: str, lasting: bool
) -> None:
    async with running_relay(tmp_path) as kept:
        kept.refuse = answer
        written = write_letter("reset", "en", house.domain, name="Anna", link=LINK)
        with pytest.raises(NotSent) as refused:
            await Mailer(kept.relay, house.access.clock).send(house.domain, uuid4(), EMAIL, written)
    assert refused.value.lasting is lasting
    assert "anna" not in str(refused.value)


@pytest.mark.parametrize("kind", LETTERS)
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_letter_is_whole_and_fetches_nothing(house: House, kind: str, language: str) -> None:
    domain = domain_named(house, "Lindenhof & Söhne <3")
    link = LINK if LETTERS[kind].button[0] else ""
    written = write_letter(kind, language, domain, name="<b>Anna</b>", link=link)
    assert "{" not in written.text + written.html
    assert "Lindenhof &amp; Söhne &lt;3" in written.html
    assert "<b>" not in written.html
    for fetches in ("<img", "src=", "url(", "<link", "<script", "@import", "http://"):
        assert fetches not in written.html
    assert written.html.count('href="') == (1 if link else 0)
    assert f'lang="{language}"' in written.html


def test_a_pale_colour_is_darkened_until_white_can_be_read(house: House) -> None:
    written = write_letter("reset", "en", domain_named(house, "L", "#f7d154"), name="A", link=LINK)
    assert "background:#f7d154" not in written.html
    assert "background:#" in written.html


def test_a_name_brings_no_link_of_its_own_into_a_letter(house: House) -> None:
    written = write_letter(
        "registration", "en", house.domain, name="Win now https://evil.example www.evil.example " + "x" * 99
    )
    assert "https://evil" not in written.text
    assert "www." not in written.text
    assert "x" * 40 not in written.text


@given(st.text(max_size=60))
def test_no_name_breaks_out_of_a_header(name: str) -> None:
    domain = Domain(
        name="residents.example",
        tenant_id=uuid4(),
        tenant="t",
        tenant_name="T",
        app="a",
        branding=Branding(name=name),
        issuer="https://residents.example",
    )
    written = write_letter("reset", "en", domain, name=name, link=LINK)
    message = compose(domain, "no-reply@lindenhof.example", uuid4(), EMAIL, written)
    raw = message.as_bytes(policy=policy.SMTP)
    head = raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    assert sorted(names) == sorted(
        [
            b"Message-ID",
            b"From",
            b"To",
            b"Subject",
            b"Auto-Submitted",
            b"Content-Language",
            b"MIME-Version",
            b"Content-Type",
        ]
    )


@pytest.mark.parametrize(
    "address",
    [
        "x@y.example\r\nBcc: all@y.example",
        "x@y.example, z@y.example",
        "<x@y.example>",
        "x y@y.example",
        '"x"@y.example',
        "x@",
        "@y.example",
        "x@-.example",
        "x@y..example",
        "x\0@y.example",
    ],
)
def test_what_is_no_single_address_is_written_to_nobody(house: House, address: str) -> None:
    written = write_letter("reset", "en", house.domain, name="Anna")
    with pytest.raises(ValueError, match=r".*"):
        compose(house.domain, "no-reply@lindenhof.example", uuid4(), address, written)


def test_a_domain_in_another_alphabet_is_written_in_ascii(house: House) -> None:
    written = write_letter("reset", "en", house.domain, name="Anna")
    message = compose(house.domain, "a@b.example", uuid4(), "anna@bücher.example", written)
    assert message["To"] == "anna@xn--bcher-kva.example"


def test_lives_of_links_are_what_the_letters_say() -> None:
    from troth.access.accounts.outbox import LIVES

    assert LIVES["reset"] == timedelta(minutes=30)
    assert LIVES["registration"] == LIVES["verification"] == timedelta(days=1)
    assert (LIVES["email_change"], LIVES["invitation"]) == (timedelta(hours=1), timedelta(days=7))
