"""Topic and message of the day at a member: each is told once, whatever happens meanwhile."""

from collections.abc import Callable

import pytest

from chat.client.events import ClientEvent, Entered, MotdReceived, TopicSet
from chat.controls import Greeting, decode_control
from chat.errors import ProtocolError
from chat.limits import MAX_MOTD_BYTES, MAX_TOPIC_BYTES
from chat.roomevents import Topic, decode_room_event
from tests.support.hall import Desk, MemberInMemory, RoomInMemory

TEA = Topic(7, "tea at four")
MOTD = "be kind\nand brief"


def greet(hall: RoomInMemory, topic: Topic = TEA, motd: str = MOTD) -> None:
    """From now on newcomers are told this."""
    greeting = Greeting(topic.since, topic.text, motd).encode() if topic.text or motd else b""
    hall.room.greeting = lambda: greeting


def told(seat: MemberInMemory) -> list[ClientEvent]:
    """What this member was told of both since the last time."""
    kinds = TopicSet | MotdReceived
    news: list[ClientEvent] = [event for event in seat.shown if isinstance(event, kinds)]
    seat.shown.clear()
    return news


def topic_of(topic: Topic, *, changed: bool = False) -> TopicSet:
    return TopicSet(topic.text, topic.since, changed=changed)


@pytest.fixture
def hall() -> RoomInMemory:
    hall = RoomInMemory()
    greet(hall)
    return hall


def test_newcomer_is_told_both_behind_who_is_there(hall: RoomInMemory) -> None:
    (ira,) = hall.enter("Ira")
    assert ira.shown == [Entered(("Ira",)), topic_of(TEA), MotdReceived(MOTD)]
    assert ira.participant.topic == topic_of(TEA)


def test_topic_that_several_servers_tell_is_told_once(hall: RoomInMemory) -> None:
    (ira,) = hall.enter("Ira")
    told(ira)
    cake = Topic(8, "cake")
    for topic in (cake, cake, Topic(9, "cake")):
        hall.room.set_topic(topic)
    hall.settle()
    assert told(ira) == [topic_of(cake, changed=True), topic_of(Topic(9, "cake"), changed=True)]


def test_change_is_told_to_all_at_once_and_nobody_hears_it_twice(hall: RoomInMemory) -> None:
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    told(ira), told(sahnawaz)
    hall.lose(sahnawaz)
    cake = Topic(8, "cake")
    greet(hall, cake)
    hall.room.set_topic(cake)
    hall.come_back(sahnawaz)
    hall.pass_time(1)
    hall.settle()
    for seat in (ira, sahnawaz):
        assert told(seat) == [topic_of(cake, changed=True)]
        assert seat.participant.topic == topic_of(cake)
    hall.room.set_topic(Topic(9, ""))
    hall.settle()
    assert told(ira) == [TopicSet("", 9, changed=True)]
    assert ira.participant.topic.text == ""


def test_topic_that_was_set_while_we_were_in_is_not_told_again_in_a_new_room(
    hall: RoomInMemory,
) -> None:
    (ira,) = hall.enter("Ira")
    cake = Topic(8, "cake")
    hall.room.set_topic(cake)
    hall.settle()
    told(ira)
    hall.crash()
    greet(hall, cake)
    hall.come_back(ira)
    hall.pass_time(1)
    hall.settle()
    assert told(ira) == []


def out_of_the_window(hall: RoomInMemory, ira: MemberInMemory) -> None:
    hall.lose(ira)
    hall.room.set_topic(Topic(8, "never read"))
    hall.log.window_bytes = 0
    hall.log.trim(hall.log.start_after_trim())


def crash(hall: RoomInMemory, _: MemberInMemory) -> None:
    hall.crash()


@pytest.mark.parametrize("away", [out_of_the_window, crash])
@pytest.mark.parametrize(
    ("topic", "motd", "news"),
    [
        (TEA, MOTD, []),
        (Topic(99, TEA.text), MOTD, []),
        (Topic(8, "cake"), MOTD, [TopicSet("cake", 8, changed=False)]),
        (TEA, "new", [MotdReceived("new")]),
        (TEA, "", []),
        (Topic(8, ""), "", [TopicSet("", 0, changed=True)]),
        (Topic(8, ""), MOTD, [TopicSet("", 8, changed=True)]),
    ],
)
def test_whoever_is_welcomed_again_is_told_what_has_changed(
    hall: RoomInMemory,
    away: Callable[[RoomInMemory, MemberInMemory], None],
    topic: Topic,
    motd: str,
    news: list[ClientEvent],
) -> None:
    (ira,) = hall.enter("Ira")
    told(ira)
    away(hall, ira)
    greet(hall, topic, motd)
    hall.come_back(ira)
    hall.pass_time(1)
    hall.settle()
    assert told(ira) == news
    assert ira.participant.topic.text == topic.text


def test_greeting_out_of_place_is_a_breach() -> None:
    desk = Desk()
    with pytest.raises(ProtocolError, match="a Greeting message is out of place"):
        desk.participant.receive_control(Greeting(0, "x", ""), 0.0)


def test_texts_may_be_as_long_as_the_protocol_says() -> None:
    greeting, topic = Greeting(0, "x" * 1024, "x" * 16_384), Topic(0, "x" * 1024)
    assert decode_control(greeting.encode()) == greeting
    assert decode_room_event(topic.encode()) == topic


@pytest.mark.parametrize(("topic", "motd"), [(MAX_TOPIC_BYTES + 1, 0), (0, MAX_MOTD_BYTES + 1)])
def test_greeting_that_is_too_long_is_a_breach(topic: int, motd: int) -> None:
    with pytest.raises(ProtocolError, match="too long"):
        decode_control(Greeting(0, "x" * topic, "x" * motd).encode())


def test_topic_that_is_too_long_is_a_breach() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        decode_room_event(Topic(0, "x" * (MAX_TOPIC_BYTES + 1)).encode())
