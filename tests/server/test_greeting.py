"""The topic and the message of the day at the server: where they are kept, and what goes wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chat.client.events import MotdReceived, TopicSet
from chat.controls import Greeting as GreetingControl
from chat.controls import decode_control
from chat.errors import IdentityError, UsageError
from chat.files.lists import ListFile
from chat.files.motd import MotdFile
from chat.kex import RoomKey
from chat.limits import MAX_MOTD_BYTES, MAX_TOPIC_BYTES
from chat.roomevents import Topic
from chat.server.greeting import Greeting, line_of_topic, topic_in
from chat.server.lists import BrokenLineError, Failed, InMemory, Trouble, Unreadable
from tests.support.loopback import Hall

NOW = 1_700_000_000.5


def test_topic_outlives_the_server_until_it_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "topic"
    greeting = Greeting(topic=ListFile(path, "topic"))
    assert (greeting.topic.text, greeting.encoded()) == ("", b"")
    topic = greeting.set_topic("tea  at four \x1b[2J\u202e", NOW)
    assert topic == Topic(1_700_000_000, "tea  at four \x1b[2J\u202e")
    assert decode_control(greeting.encoded()) == GreetingControl(topic.since, topic.text, "")
    greeting.save_orders()
    again = Greeting(topic=ListFile(path, "topic"))
    assert again.topic == topic
    again.set_topic("", NOW)
    again.save_orders()
    assert path.read_text() == ""
    assert (again.encoded(), Greeting(topic=ListFile(path, "topic")).topic.text) == (b"", "")


@pytest.mark.parametrize(
    "text",
    ["x" * (MAX_TOPIC_BYTES + 1), "é" * 513, "\u3164", " \u200d", "tea\n2023-11-14T22:13:20Z cake"],
)
def test_topic_that_is_too_long_or_cannot_be_seen_changes_nothing(text: str) -> None:
    greeting = Greeting()
    before = greeting.set_topic("é" * 512, NOW)
    with pytest.raises(UsageError):
        greeting.set_topic(text, NOW)
    assert greeting.topic == before


@pytest.mark.parametrize(
    "line",
    [
        *("tea", "yesterday tea", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z  "),
        *("1969-01-01T00:00:00Z tea", f"2023-11-14T22:13:20Z {'x' * 1025}"),
        "2023-11-14T22:13:20Z \udcff",
    ],
)
def test_line_that_is_no_topic_is_told_and_passed_over(line: str) -> None:
    with pytest.raises(BrokenLineError):
        topic_in(line)
    troubles: list[Trouble] = []
    good = "2023-11-14T22:13:20Z tea"
    greeting = Greeting(troubles.append, topic=InMemory(good, line, ""))
    assert greeting.topic == Topic(1_700_000_000, "tea") == topic_in(good)
    assert line_of_topic(greeting.topic) == good
    assert troubles == [Unreadable("the list", (2,))]


def test_topic_that_cannot_be_written_holds_for_this_run(tmp_path: Path) -> None:
    troubles: list[Trouble] = []
    file = ListFile(tmp_path / "gone" / "topic", "topic")
    greeting = Greeting(troubles.append, topic=file)
    (tmp_path / "gone").write_text("a file")
    greeting.set_topic("tea", NOW)
    for _ in range(2):
        greeting.save_orders()
    assert greeting.topic.text == "tea"
    [trouble] = troubles
    assert isinstance(trouble, Failed)
    assert trouble.holds


def test_motd_is_read_again_when_it_changes_and_the_last_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "motd"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\n")
    troubles: list[Trouble] = []
    greeting = Greeting(troubles.append, motd=MotdFile(path))

    def motd() -> str:
        control = decode_control(greeting.encoded())
        assert isinstance(control, GreetingControl)
        return control.motd

    assert motd() == "one\ntwo"
    assert greeting.encoded() is greeting.encoded(), "made once"
    path.write_text("three")
    assert motd() == "three"
    path.write_bytes(b"\xff")
    assert motd() == motd() == "three"
    assert len(troubles) == 1, "said once"
    path.unlink()
    assert motd() == "three"
    path.write_text("four")
    assert motd() == "four"
    path.write_text(" \n\u3164")
    assert greeting.encoded() == b""
    assert [str(trouble.text) for trouble in troubles if isinstance(trouble, Failed)] == [
        f"the message of the day {path} cannot be used: it is not UTF-8",
        f"the message of the day {path} cannot be used: no such file or directory",
    ]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"\xe9t\xe9"), "it is not UTF-8"),
        (lambda path: path.write_text("x" * (MAX_MOTD_BYTES + 1)), "larger than 16,384 bytes"),
        (os.mkfifo, "a FIFO, not a file"),
    ],
)
def test_motd_that_is_of_no_use_says_why(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "motd"
    make(path)
    with pytest.raises(IdentityError, match=f"{path} cannot be used: {why}$"):
        MotdFile(path).read()


def test_all_rooms_are_told_the_topic_and_whoever_comes_later(hall: Hall) -> None:
    room_key = RoomKey(bytes(32))
    ira, sealed = hall.join("Ira"), hall.join("Zoe", "other", room_key)
    hall.type("TOPIC tea at four")
    hall.until(lambda: hall.shown("[+] Everybody is told the topic: tea at four"))
    since = hall.server.greeting.topic.since
    told = TopicSet("tea at four", since, changed=True)
    hall.until(lambda: ira.news[-1:] == sealed.news[-1:] == [told])
    for late in (hall.join("Bob", "sahnawaz"), hall.join("Bo", "sahnawaz", room_key)):
        assert TopicSet("tea at four", since, changed=False) in late.news
        assert not any(isinstance(event, MotdReceived) for event in late.news)
