"""A key copied by hand: every likely slip is found, and the group it happened in is named."""

import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.core.errors import UsageError
from troth.core.recovery_text import ALPHABET, GROUPS, read_groups, write_groups
from troth.core.secret import Secret

KEY = Secret(bytes(range(32)))
WORDS = re.split(r"[-\n]", write_groups(KEY))
KEYS = st.binary(min_size=32, max_size=32).map(Secret)
PLACES = st.integers(min_value=0, max_value=GROUPS - 1)
CHARACTERS = st.integers(min_value=0, max_value=4)


def test_the_form_stays_as_it_was_written_down() -> None:
    assert write_groups(KEY) == (
        "000GT-40R4J-0M30Q-E209H-185GG-R38E3-1W815\n24GKG-2GAHB-C5RR6-34D1M-P70XD-3RFG4-CC6WT"
    )


@given(KEYS)
def test_what_was_written_is_read(key: Secret) -> None:
    assert read_groups(write_groups(key)) == key


@given(KEYS, st.sampled_from([" ", "-", "\n", "  ", " – ", ""]))
def test_spaces_case_and_look_alikes_do_not_matter(key: Secret, between: str) -> None:
    words = re.split(r"[-\n]", write_groups(key))
    typed = between.join(words).lower().replace("0", "o").replace("1", "l")
    assert read_groups(f" {typed}\n") == key


@given(KEYS, PLACES, CHARACTERS, st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found_in_its_group(key: Secret, place: int, at: int, wrong: str) -> None:
    words = re.split(r"[-\n]", write_groups(key))
    if words[place][at] == wrong:
        return
    words[place] = words[place][:at] + wrong + words[place][at + 1 :]
    with pytest.raises(UsageError, match=rf"^Group {place + 1} of the recovery key has a typing error"):
        read_groups("-".join(words))


@given(KEYS, PLACES, CHARACTERS, CHARACTERS)
def test_two_characters_that_changed_places_are_found(key: Secret, place: int, one: int, other: int) -> None:
    words = re.split(r"[-\n]", write_groups(key))
    letters = list(words[place])
    letters[one], letters[other] = letters[other], letters[one]
    if "".join(letters) == words[place]:
        return
    words[place] = "".join(letters)
    with pytest.raises(UsageError, match=rf"^Group {place + 1} "):
        read_groups("-".join(words))


@given(KEYS, PLACES, PLACES)
def test_groups_that_changed_places_are_both_named(key: Secret, one: int, other: int) -> None:
    if one == other:
        return
    words = re.split(r"[-\n]", write_groups(key))
    words[one], words[other] = words[other], words[one]
    first, second = sorted((one + 1, other + 1))
    with pytest.raises(UsageError, match=f"^Groups {first}, {second} of"):
        read_groups("-".join(words))


def test_a_group_of_another_key_in_its_place_is_found_by_the_whole() -> None:
    other = re.split(r"[-\n]", write_groups(Secret(secrets.token_bytes(32))))
    with pytest.raises(UsageError, match="together they are no recovery key"):
        read_groups("-".join([*WORDS[:4], other[4], *WORDS[5:]]))


@pytest.mark.parametrize("text", ["", "hello", "-".join(WORDS[:-1]), "-".join([*WORDS, WORDS[0]])])
def test_too_few_or_too_many_groups_are_counted(text: str) -> None:
    with pytest.raises(UsageError, match="has 14 groups of five characters"):
        read_groups(text)


def test_a_group_of_the_wrong_length_is_named() -> None:
    with pytest.raises(UsageError, match="Group 3 "):
        read_groups("-".join([*WORDS[:2], WORDS[2][:4], *WORDS[3:]]))


def test_no_error_repeats_what_was_typed() -> None:
    typed = "-".join([*WORDS[:6], "ZZZZZ", *WORDS[7:]])
    with pytest.raises(UsageError) as caught:
        read_groups(typed)
    shown = f"{caught.value!r} {caught.value.hint} {caught.value.detail}"
    assert not any(word in shown for word in typed.split("-"))
