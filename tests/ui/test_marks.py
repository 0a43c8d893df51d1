"""Lines between the others: where a day begins, and what is unread."""

import pytest

from chat.client.events import (
    ClientEvent,
    Disconnected,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
    NoticeReceived,
    Reconnected,
    RoomClosed,
    Warned,
)
from chat.errors import Reason
from chat.ui.marks import Days, unread
from chat.ui.style import Painter
from tests.support.helpers import FakeClock

MIDNIGHT = 1_700_006_400.0
DAY = 86_400.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A minute and a half before Wednesday, the 15th."""
    monkeypatch.setenv("TZ", "UTC0")
    clock = FakeClock(MIDNIGHT - 90)
    monkeypatch.setattr("time.time", clock)
    return clock


def test_day_begins_before_the_first_thing_of_it_and_once(clock: FakeClock) -> None:
    days = Days()
    assert days.begins() == ""
    clock.advance(89)
    assert days.begins(clock.now) == ""
    clock.advance(1)
    assert days.begins() == "── Wednesday, 2023-11-15 ──"
    assert days.begins() == days.begins(clock.now + 9) == ""
    clock.advance(2 * DAY)
    assert days.begins() == "── Friday, 2023-11-17 ──"


def test_clocks_that_differ_a_little_at_midnight_begin_no_day_again(clock: FakeClock) -> None:
    days = Days()
    clock.advance(95)
    assert days.begins(MIDNIGHT + 5) != ""
    assert days.begins(MIDNIGHT - 5) == days.begins() == days.begins(MIDNIGHT + 1) == ""


def test_what_was_said_yesterday_and_comes_today_stands_below_yesterday(clock: FakeClock) -> None:
    days = Days()
    clock.advance(DAY)
    assert days.begins(MIDNIGHT - 3600) == ""
    assert days.begins(MIDNIGHT + 3600) == "── Wednesday, 2023-11-15 ──"
    assert days.begins(MIDNIGHT - 3600) == "── Tuesday, 2023-11-14 ──"
    assert days.begins() == "── Wednesday, 2023-11-15 ──"
    assert days.begins(1e18) == ""


def test_mark_says_since_when_if_times_are_shown(clock: FakeClock) -> None:
    assert unread(30, "%H:%M") == "── 23:58, unread ──"
    assert unread(30, "") == "── unread ──"


def test_mark_fits_a_narrow_window_and_a_terminal_without_lines() -> None:
    assert Painter().mark("── 14:02, unread ──", 10) == ["\x1b[?7l── 14:02,…\x1b[?7h"]
    assert Painter(encoding="latin-1").mark("── unread ──", 80) == ["-- unread --"]


NEWS: list[ClientEvent] = [
    Disconnected("the cable is cut"),
    Reconnected(0, new_room=False, awaiting=False),
    RoomClosed(),
]
OTHERS_NEWS: list[ClientEvent] = [
    MemberJoined("Zoe"),
    MemberLeft("Zoe", Reason.LEFT),
    MemberLost("Zoe"),
    MemberBack("Zoe"),
    NoticeReceived("tea\nis ready"),
]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("event", [*NEWS, *OTHERS_NEWS])
def test_news_have_a_time_on_a_terminal(event: ClientEvent) -> None:
    painter = Painter(time_format="%H:%M")
    (row, *_) = painter.paint(event, 80, live=True)
    assert row.startswith("23:58 [")
    assert painter.paint(event, None, live=True)[0] == row.removeprefix("23:58 ")
    missed = painter.paint(event, 80)[0]
    assert missed == (row if event in NEWS else row.removeprefix("23:58 "))
    assert Painter(time_format="").paint(event, 80, live=True)[0].startswith("[")
    assert painter.paint(Warned("it rains"), 80, live=True) == ["[!] it rains."]


@pytest.mark.usefixtures("clock")
def test_doubtful_time_is_marked_on_a_terminal() -> None:
    said = MessageReceived("Zoe", 0, "Hi", own=False, doubtful=True)
    painter = Painter(time_format="%H:%M")
    assert painter.paint(said, 80) == ["(00:00?) Zoe: Hi"]
    assert painter.paint(said, None) == ["00:00 Zoe: Hi"]
    assert Painter(time_format="").paint(said, 80) == ["Zoe: Hi"]
    assert painter.day(80, said) == []


def test_day_is_shown_on_a_terminal_that_shows_times(clock: FakeClock) -> None:
    said = MessageReceived("Zoe", int(MIDNIGHT * 1000), "Hi", own=False)
    with_times, without = Painter(time_format="%H:%M"), Painter(time_format="")
    clock.advance(90)
    assert with_times.day(None, said) == without.day(80, said) == without.day(80) == []
    assert with_times.day(80, said) == ["\x1b[?7l── Wednesday, 2023-11-15 ──\x1b[?7h"]
    assert with_times.day(80) == []
