"""What the words of a command line mean, and why others mean nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import UsageError
from chat.limits import DEFAULT_PORT
from chat.place import Place, check_host, destination_of, is_invite, place_of, with_port

INVITE = "chat://chat.example:9443/AQAB"
BROKEN = " CHAT://chat.example:94\n43/AQ AB\n"

PLACES = [
    (["chat.example"], Place("chat.example", DEFAULT_PORT, may_be_kept=True)),
    (["friends"], Place("friends", DEFAULT_PORT, may_be_kept=True)),
    (["chat.example:1"], Place("chat.example", 1)),
    (["chat:9443"], Place("chat", 9443)),
    (["192.0.2.7:65535"], Place("192.0.2.7", 65_535)),
    (["::1"], Place("::1", DEFAULT_PORT)),
    (["[::1]"], Place("::1", DEFAULT_PORT)),
    (["[::1]:22"], Place("::1", 22)),
    (["[fe80::1%eth0]:22"], Place("fe80::1%eth0", 22)),
    (["[localhost]"], Place("localhost", DEFAULT_PORT)),
    (["-"], Place()),
    ([INVITE], Place(invite=INVITE)),
    ([BROKEN], Place(invite=BROKEN)),
    (["localhost", "1"], Place("localhost", 1)),
    (["[::1]", "00022"], Place("::1", 22)),
    (["::1", "22"], Place("::1", 22)),
]


@pytest.mark.parametrize(("words", "place"), PLACES)
def test_words_are_a_place(words: list[str], place: Place) -> None:
    assert place_of(words) == place
    assert destination_of([*words, "Ira"]) == (place, "Ira")


@pytest.mark.parametrize(("words", "place"), [case for case in PLACES if len(case[0]) == 1])
def test_name_may_stand_before_a_host(words: list[str], place: Place) -> None:
    if place.host:
        for name in ("Ira", "a@b", "9443"):
            assert destination_of([f"{name}@{words[0]}"]) == (place, name)


@pytest.mark.parametrize(
    ("words", "destination"),
    [
        (["localhost", "9443", "9443"], (Place("localhost", 9443), "9443")),
        (["localhost:1", "9443"], (Place("localhost", 1), "9443")),
        (["-", "9443"], (Place(), "9443")),
        ([INVITE, "9443"], (Place(invite=INVITE), "9443")),
        (["localhost", "-"], (Place("localhost", DEFAULT_PORT, may_be_kept=True), "-")),
        (["localhost", "Z\u030cofia"], (Place("localhost", DEFAULT_PORT, True), "\u017dofia")),
    ],
)
def test_word_that_could_be_two_things_is_what_stands_at_its_place(
    words: list[str], destination: tuple[Place, str]
) -> None:
    assert destination_of(words) == destination


@pytest.mark.parametrize("host", ["localhost", "192.0.2.1", "2001:db8::1"])
def test_host_with_its_port_is_understood_again(host: str) -> None:
    assert place_of([with_port(host, 9443)]) == Place(host, 9443)


PORT = "a port is a number from 1 to 65535"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "the host, the invite or the kept room is missing"),
        (["localhost"], "your name is missing"),
        (["-"], "your name is missing"),
        ([INVITE], "your name is missing"),
        (["localhost", "9443"], "9443 is taken for a port, so your name is missing"),
        (["::1", "9443"], "9443 is taken for a port, so your name is missing"),
        (["Ira@localhost", "9443"], "NAME@HOST:PORT is one word"),
        (["Ira@localhost", "Ira"], "NAME@HOST:PORT is one word"),
        (["Ira@localhost", "9443", "Ira"], "NAME@HOST:PORT is one word"),
        (["@localhost"], "a name has at least one character"),
        (["Ira@"], "a host has at least one character"),
        (["Ira@:1"], "a host has at least one character"),
        (["", "Ira"], "a host has at least one character"),
        (["", "9443", "Ira"], "a host has at least one character"),
        (["[]", "Ira"], "a host has at least one character"),
        (["localhost:", "Ira"], PORT),
        (["localhost:0", "Ira"], PORT),
        (["localhost:65536", "Ira"], PORT),
        (["[::1]:x", "Ira"], PORT),
        (["localhost", "http", "Ira"], PORT),
        (["localhost", "0", "Ira"], PORT),
        (["localhost", "\u0661", "Ira"], PORT),
        (["localhost:1", "1", "Ira"], "the port is given twice"),
        (["[::1]:1", "1", "Ira"], "the port is given twice"),
        (["-", "9443", "Ira"], "an invite says the port"),
        ([INVITE, "9443", "Ira"], "an invite says the port"),
        ([INVITE, "AQAB", "Ira"], "quotes hold an invite with blanks together"),
        ([INVITE, "AQAB", "more", "Ira"], "quotes hold an invite with blanks together"),
        (["Ira", INVITE], "a name has no comma, colon"),
        (["localhost", "1", "Ira", "more"], "there are too many words: 4"),
        (["chat.example:9443/AQAB", "Ira"], PORT),
        (["chat.example/AQAB", "Ira"], "a host has no slash, and an invite begins with chat://"),
        (["caf\udce9", "Ira"], "a host is text, and this is not UTF-8"),
        (["localhost", "\udcff"], "a name has printable characters only"),
    ],
)
def test_what_is_no_destination_is_refused_with_the_reason(words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        destination_of(words)
    assert why in str(caught.value)
    assert "AQAB" not in caught.value.advice


@given(st.lists(st.text("a:@[]/-0 .", max_size=6), max_size=4))
def test_no_words_break_the_reader(words: list[str]) -> None:
    try:
        place, _ = destination_of(words)
    except UsageError:
        return
    assert not set("@/") & set(place.host)
    assert 0 < place.port <= 65_535


def test_invite_is_not_shown_when_a_place_is_printed() -> None:
    assert "AQAB" not in f"{Place(invite=INVITE)!r} {Place(invite=INVITE)!s}"


@pytest.mark.parametrize("text", ["chat.example", "chat:9443", "Ira", "-", "http://chat://", ""])
def test_what_is_no_invite_is_not_taken_for_one(text: str) -> None:
    assert not is_invite(text)


@pytest.mark.parametrize("host", ["::", "[::]", "localhost", "[x", "x]", "[::]:1"])
def test_brackets_of_an_address_are_taken_off(host: str) -> None:
    assert check_host(host) == ("::" if host == "[::]" else host)


@pytest.mark.parametrize(("words", "place"), PLACES)
def test_usual_name_stands_for_one_that_is_left_out(words: list[str], place: Place) -> None:
    assert destination_of(words, usual="Zoe") == (place, "Zoe")
    assert destination_of([*words, "Ira"], usual="Zoe") == (place, "Ira")


def test_usual_name_needs_a_place() -> None:
    with pytest.raises(UsageError, match="the host, the invite or the kept room is missing"):
        destination_of([], usual="Zoe")
