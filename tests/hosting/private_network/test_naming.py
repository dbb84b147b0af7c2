"""What the relay reads in the answers of name servers."""

import dns.message
import dns.rcode
import dns.rrset
import pytest

from troth.hosting.private_network.naming import may_be_opened, read_answer


def answer(*records: tuple[str, str, str], name: str = "Store.Example") -> bytes:
    """To a question for the address of a name, in the compressed form of real servers."""
    message = dns.message.make_response(dns.message.make_query(name, "A"))
    for owner, kind, data in records:
        message.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, data))
    return message.to_wire()


def test_addresses_of_both_families_are_read_behind_any_number_of_aliases() -> None:
    wire = answer(
        ("store.example.", "CNAME", "a.other.example."),
        ("a.other.example.", "CNAME", "b.other.example."),
        ("b.other.example.", "A", "203.0.113.7"),
        ("b.other.example.", "AAAA", "2001:db8::7"),
        ("b.other.example.", "TXT", '"203.0.113.8"'),
    )
    assert read_answer(wire) == ("store.example", ("203.0.113.7", "2001:db8::7"))


def test_an_answer_that_says_no_opens_nothing() -> None:
    message = dns.message.from_wire(answer(("store.example.", "A", "203.0.113.7")))
    message.set_rcode(dns.rcode.NXDOMAIN)
    assert read_answer(message.to_wire()) == ("store.example", ())


def test_a_question_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no answer"):
        read_answer(dns.message.make_query("store.example", "A").to_wire())


@pytest.mark.parametrize("size", range(0, 60, 3))
def test_what_is_cut_short_is_refused_or_read_as_far_as_it_is_whole(size: int) -> None:
    wire = answer(("store.example.", "A", "203.0.113.7"))
    try:
        assert read_answer(wire[:size])[1] in ((), ("203.0.113.7",))
    except ValueError:
        return


def test_names_that_lead_in_a_circle_are_refused() -> None:
    header = b"\0\1\x81\x80\0\1\0\0\0\0\0\0"
    with pytest.raises(ValueError, match="circle"):
        read_answer(header + b"\xc0\x0c\0\1\0\1")


@pytest.mark.parametrize(
    ("address", "opened"),
    [
        ("203.0.113.7", True),
        ("10.0.0.7", True),
        ("2001:db8::7", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("169.254.169.254", False),
    ],
)
def test_no_name_server_opens_this_machine_itself(address: str, opened: bool) -> None:
    assert may_be_opened(address) is opened
