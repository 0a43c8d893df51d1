"""Whose coming and going is shown, and whose is summed up."""

import pytest

from chat.client.events import (
    ClientEvent,
    KeyChanged,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
)
from chat.errors import Reason
from chat.limits import MAX_MEMBERS, QUIET_SECONDS
from chat.ui.quiet import Quiet
from tests.support.helpers import FakeClock

NAMES = ["Thea", "Jean Luc", "al", "太郎"]


@pytest.fixture
def quiet(clock: FakeClock) -> Quiet:
    return Quiet(clock, "smart")


def say(quiet: Quiet, name: str, text: str = "Hi", to: str = "") -> None:
    quiet.heard(MessageReceived(name, 0, text, own=name == "Ira", to=to), lambda: NAMES)


def folds(quiet: Quiet, *events: ClientEvent) -> list[bool]:
    return [quiet.takes(event, live=False) for event in events]


def went(name: str, reason: Reason = Reason.LEFT) -> MemberLeft:
    return MemberLeft(name, reason)


def test_who_has_spoken_is_shown_for_a_while(quiet: Quiet, clock: FakeClock) -> None:
    assert folds(quiet, MemberJoined("Thea")) == [True]
    say(quiet, "Thea")
    assert folds(quiet, went("THEA"), MemberLost("Thea"), MemberBack("Thea")) == [False] * 3
    clock.advance(QUIET_SECONDS)
    assert folds(quiet, went("Thea")) == [True]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("thea: see below", ["Thea"]),
        ("ask jean luc or Thea", ["Thea", "Jean Luc"]),
        ("also", []),
        ("太郎さん", ["太郎"]),
        ("Jean", []),
    ],
)
def test_whom_the_person_names_is_shown_for_good(
    quiet: Quiet, clock: FakeClock, text: str, named: list[str]
) -> None:
    say(quiet, "Ira", text)
    clock.advance(10 * QUIET_SECONDS)
    assert [name for name in NAMES if folds(quiet, went(name)) == [False]] == named


@pytest.mark.parametrize(("name", "to"), [("Ira", "Thea"), ("Thea", "Ira")])
def test_with_whom_the_person_whispers_is_shown_for_good(
    quiet: Quiet, clock: FakeClock, name: str, to: str
) -> None:
    say(quiet, name, "al", to)
    clock.advance(10 * QUIET_SECONDS)
    assert folds(quiet, went("Thea"), went("al")) == [False, True]


@pytest.mark.parametrize(
    "event",
    [
        went("Zoe", Reason.KICKED),
        MemberJoined("Zoe", unproved=True),
        KeyChanged("Zoe", b"", b"", 0),
        MessageReceived("Zoe", 0, "Hi", own=False),
    ],
)
def test_what_is_not_ordinary_is_shown(quiet: Quiet, event: ClientEvent) -> None:
    quiet.mode = "on"
    assert folds(quiet, event) == [False]


def test_all_or_nothing_is_summed_up_if_the_person_wants(quiet: Quiet) -> None:
    say(quiet, "Thea")
    quiet.mode = "on"
    assert folds(quiet, went("Thea")) == [True]
    quiet.mode = "off"
    assert folds(quiet, went("Zoe")) == [False]


def test_one_alone_has_the_usual_line(quiet: Quiet) -> None:
    folds(quiet, MemberJoined("ann"))
    assert quiet.line("-") == "[+] New person joined the room. Username: ann"
    folds(quiet, MemberLeft("ann", Reason.LEFT, "so long"))
    assert quiet.line("-") == "[+] 1 joined, 1 left: ann"
    quiet.forget()
    folds(quiet, MemberLeft("ann", Reason.LEFT, "so long"))
    assert quiet.line("-") == '[+] ann left the server: "so long"'


def test_sum_counts_and_names_a_few(quiet: Quiet) -> None:
    assert quiet.line("-") is None
    folds(quiet, went("ann"))
    assert quiet.line("-") == "[+] ann left the server."
    quiet.forget()
    folds(quiet, MemberJoined("ann"), went("ben"), MemberJoined("ben"), MemberLost("ann"))
    assert quiet.line("-") == "[+] 2 joined, 1 left, 1 lost: ann, ben"
    folds(quiet, MemberBack("\x1bc"), *map(MemberJoined, ("d", "e", "f", "g")))
    assert quiet.line("-") == r"[+] 6 joined, 1 left, 1 lost, 1 back: ann, ben, \x1bc, d, e, …"
    quiet.takes(went("ann"), live=True)
    line = quiet.line("at")
    assert line is not None
    assert line.startswith("at [+] 6 joined, 2 left")
    quiet.forget()
    assert quiet.line("-") is None


def test_ten_thousand_who_come_and_go_are_one_line_and_little_memory(quiet: Quiet) -> None:
    for number in range(10_000):
        name = f"guest {number}"
        assert folds(quiet, MemberJoined(name), went(name)) == [True, True]
        quiet.heard(MessageReceived(name, 0, "Hi", own=False, to="Ira"), list)
    assert quiet.line("-") == (
        "[+] 10,000 joined, 10,000 left: guest 0, guest 1, guest 2, guest 3, guest 4, …"
    )
    assert len(quiet._spoke) == len(quiet._partners) == MAX_MEMBERS
    assert len(quiet._names) == 5
