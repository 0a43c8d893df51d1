"""What `/last` shows, and how much of it is kept."""

import pytest

from chat import limits
from chat.client import events
from chat.client.events import MessageReceived
from chat.text import as_action
from chat.ui import transcript
from chat.ui.memory import Memory, recalled
from chat.ui.style import Painter

PAINTER = Painter("Ira", time_format="-")


def said(text: str, name: str = "Thea") -> MessageReceived:
    return MessageReceived(name, 0, text, own=name == "Ira")


def memory_of(*happened: events.ClientEvent) -> Memory:
    memory = Memory()
    for event in happened:
        memory.add(event)
    return memory


def ask(memory: Memory, argument: str) -> list[str]:
    return recalled(memory, argument, PAINTER, None, None)


SOME = memory_of(
    said("Grüße aus Köln"),
    events.Connected(),
    events.MemberJoined("Zoe"),
    said(as_action("waves"), "Ira"),
    events.NoticeReceived("maintenance at noon"),
    said("one\ntwo", "Ira"),
)
THEA, ZOE = "- Thea: Grüße aus Köln", "[+] New person joined the room. Username: Zoe"
NOON, TWO = "[+] The server says: maintenance at noon", ["- Ira: one", "    two"]


@pytest.mark.parametrize(
    ("argument", "title", "rows"),
    [
        (
            "2",
            "the last 2 of 5",
            [NOON, *TWO],
        ),
        ("GRÜSSE", '1 with "GRÜSSE"', [THEA]),
        ("thea: gr", '1 with "thea: gr"', [THEA]),
        ("zoe", '1 with "zoe"', [ZOE]),
        ("WAVES", '1 with "WAVES"', ["- * Ira waves"]),
        ('"TWO"', '1 with "TWO"', TWO),
        ("noon", '1 with "noon"', [NOON]),
    ],
)
def test_last_lines_and_those_with_a_text(argument: str, title: str, rows: list[str]) -> None:
    assert ask(SOME, argument) == [f"── {title} ──", *rows, "── now ──"]


@pytest.mark.parametrize("argument", ["xyzzy", "0", '"2"', "\x1b[2J"])
def test_what_was_not_heard_is_not_found(argument: str) -> None:
    assert ask(SOME, argument) == [transcript.NOTHING_HEARD]


def test_all_is_shown_of_little_and_the_end_of_much() -> None:
    assert len(ask(SOME, "")) == len(ask(SOME, "999999")) == 2 + 6
    many = memory_of(*(said(f"line {number}") for number in range(100)))
    assert ask(many, "")[:2] == ["── the last 20 of 100 ──", "- Thea: line 80"]
    assert ask(many, "line")[:2] == ['── 20 of 100 with "line" ──', "- Thea: line 80"]


def test_text_that_is_sought_cannot_act_on_the_terminal() -> None:
    memory = memory_of(said("\x1b[2J"))
    assert ask(memory, "\x1b[2J")[0] == r'── 1 with "\x1b[2J" ──'


def test_memory_is_bounded_in_number_and_size() -> None:
    memory = Memory()
    for number in range(limits.LAST_KEPT + 10):
        memory.add(said(f"{number}"))
    assert len(memory) == limits.LAST_KEPT
    assert memory.last(limits.LAST_KEPT)[0].words == "Thea: 10"
    for _ in range(300):
        memory.add(said("x" * limits.MAX_TEXT_BYTES))
    assert len(memory) <= limits.LAST_CHARS // limits.MAX_TEXT_BYTES
    assert memory.find("x")


def test_time_since_when_something_was_changed_stays(
    half_past: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    tampered = events.Tampered(5, True, True)
    memory = memory_of(tampered)
    (told,) = PAINTER.paint(tampered)
    now += 600
    assert ask(memory, "1")[1:-1] == [told]


def test_day_before_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    memory.add(events.MemberJoined("Zoe"))
    monkeypatch.setattr("time.time", lambda: 1_700_086_400.0)
    memory.add(events.MemberLost("Zoe"))
    rows = recalled(memory, "", Painter("Ira", time_format="%M:%S", is_dumb=True), 80, None)
    assert [row.partition(",")[0] for row in rows] == [
        "── the last 2 of 2 ──",
        "── Tuesday",
        f"13:20 {ZOE}",
        "── Wednesday",
        "13:20 [!] Zoe lost the connection.",
        "── now ──",
    ]
