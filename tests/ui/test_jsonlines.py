"""A conversation for programs: an object for whatever happens, and a command in each line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.client import events
from chat.errors import REASONS, Reason
from chat.reactor import Reactor
from chat.text import fingerprint_of
from chat.ui.jsonlines import JsonView, fields_of
from tests.support.conversation import LONGEST, LoneView, seat_at_pipe, seat_at_terminal
from tests.support.loopback import until

ALL_COMMANDS = (
    "a command is one of say, me, direct, who, invite, topic, security, op, trust, ignore, "
    "unignore and leave"
)


@pytest.fixture
def program(reactor: Reactor) -> Iterator[LoneView]:
    with seat_at_pipe(reactor, JsonView) as seat:
        yield seat


def objects(seat: LoneView) -> list[Any]:
    """The objects in the lines that were shown."""
    return [json.loads(line) for line in seat.shown]


# -- events


KEY = fingerprint_of(bytes(32))

EVENTS: list[tuple[events.ClientEvent, dict[str, object]]] = [
    (events.Connected(), {"event": "connected"}),
    (
        events.ServerMet("example", "SHA256:abc", known=True, since="2026-11-27"),
        {
            "event": "server",
            "host": "example",
            "fingerprint": "SHA256:abc",
            "known": True,
            "since": "2026-11-27",
            "invited": False,
            "named": False,
        },
    ),
    (
        events.Entered(("Ira", "Thea"), again=True),
        {
            "event": "entered",
            "members": ["Ira", "Thea"],
            "again": True,
            "unproved": [],
            "room": "open",
            "tag": "",
        },
    ),
    (
        events.Entered(("Ira", "Thea"), False, bytes(range(16)), ("Thea",)),
        {
            "event": "entered",
            "members": ["Ira", "Thea"],
            "again": False,
            "unproved": ["Thea"],
            "room": "sealed",
            "tag": "000102030405060708090a0b0c0d0e0f",
        },
    ),
    (
        events.Disconnected("the connection was lost", restarting=True, elsewhere=True),
        {
            "event": "disconnected",
            "text": "the connection was lost",
            "restarting": True,
            "elsewhere": True,
        },
    ),
    (
        events.Reconnected(3, new_room=True, awaiting=False, server="b.example:9443"),
        {
            "event": "reconnected",
            "missed": 3,
            "new_room": True,
            "awaiting": False,
            "server": "b.example:9443",
        },
    ),
    (
        events.MessageReceived(
            "Thea", 1_687_665_924_500, "Hi\n\x1b", own=False, number=7, doubtful=True
        ),
        {
            "event": "message",
            "name": "Thea",
            "text": "Hi\n\x1b",
            "action": False,
            "time": 1_687_665_924.5,
            "arrived": 0,
            "doubtful": True,
            "direct": None,
        },
    ),
    (
        events.MessageReceived("Thea", 0, "\x01ACTION waves\x01", own=False),
        {"event": "message", "name": "Thea", "text": "waves", "action": True, "time": 0}
        | {"arrived": 0, "doubtful": False, "direct": None},
    ),
    (
        events.MessageReceived("Thea", 0, "Psst", own=False, to="Ira"),
        {"event": "message", "name": "Thea", "text": "Psst", "action": False, "time": 0}
        | {"arrived": 0, "doubtful": False, "direct": "Ira"},
    ),
    (
        events.MessageReceived("Ira", 1000, "Hi", own=True, number=7, arrived_ms=2500),
        {
            "event": "acknowledged",
            "number": 7,
            "name": "Ira",
            "text": "Hi",
            "action": False,
            "time": 1,
            "arrived": 2.5,
            "doubtful": False,
            "direct": None,
        },
    ),
    (
        events.ClockDiffers("Thea", 7200.5),
        {"event": "clock-differs", "name": "Thea", "seconds": 7200.5},
    ),
    (events.MessageNotForUs("Thea"), {"event": "not-for-you", "name": "Thea"}),
    (
        events.Tampered(2.5, certain=True, again=False),
        {"event": "tampered", "seconds": 2.5, "certain": True, "again": False},
    ),
    (
        events.MemberJoined("Thea", bytes(32), unproved=True),
        {"event": "joined", "name": "Thea", "fingerprint": KEY, "unproved": True},
    ),
    (
        events.KeyChanged("Thea", bytes(32), b"\1" * 32, 1_687_665_924),
        {
            "event": "key-changed",
            "name": "Thea",
            "known": KEY,
            "shown": fingerprint_of(b"\1" * 32),
            "since": 1_687_665_924,
        },
    ),
    (
        events.NameChanged("Thea", "Bob", bytes(32), 1_687_665_924),
        {
            "event": "name-changed",
            "name": "Thea",
            "before": "Bob",
            "fingerprint": KEY,
            "since": 1_687_665_924,
        },
    ),
    (events.MemberLost("Thea"), {"event": "lost", "name": "Thea"}),
    (events.MemberBack("Thea"), {"event": "back", "name": "Thea"}),
    (events.NoticeReceived("one\ntwo"), {"event": "notice", "text": "one\ntwo"}),
    (
        events.TopicSet("one", 7, changed=True),
        {"event": "topic", "text": "one", "since": 7, "changed": True},
    ),
    (events.MotdReceived("one\ntwo"), {"event": "motd", "text": "one\ntwo"}),
    (
        events.Answered("KICK Zoe", False, ("Nobody here is called Zoe.",)),
        {
            "event": "answer",
            "command": "KICK Zoe",
            "done": False,
            "lines": ["Nobody here is called Zoe."],
        },
    ),
    (events.RoomClosed(), {"event": "closed"}),
    (events.Warned("it is odd"), {"event": "warning", "text": "it is odd"}),
    (
        events.Failed("it is over", "try again", 3),
        {"event": "error", "text": "it is over", "hint": "try again", "exit_status": 3},
    ),
]
EVENTS += [
    (
        events.MemberLeft("Thea", reason, "bye"),
        {"event": "left", "name": "Thea", "reason": text, "text": "bye"},
    )
    for reason, text in REASONS.items()
]

NOT_TOLD: list[events.ClientEvent] = [
    events.MakingKey(),
    events.NamedByLogin("Ira"),
    events.Leaving(1),
    events.LookingUp("localhost"),
    events.Connecting("localhost", 9443),
    events.KeysExchanged(),
    events.OutboxFull(1024),
    # The connection that is lost for it is told.
    events.FrameRefused("a room frame before the welcome"),
    events.LogGone(),
]


@pytest.mark.parametrize(("event", "fields"), EVENTS)
def test_event_has_just_these_fields(
    program: LoneView, event: events.ClientEvent, fields: dict[str, object]
) -> None:
    program.view.show(event)
    assert objects(program) == [fields]


def test_what_programs_need_not_know_is_no_event_and_every_event_was_thought_of(
    program: LoneView,
) -> None:
    for event in NOT_TOLD:
        program.view.show(event)
    assert program.shown == []
    tried = {type(event) for event, _ in EVENTS} | set(map(type, NOT_TOLD))
    assert tried == set(events.ClientEvent.__args__)


EVIL = "\x1b[2J\x9b31m\u202e\u2028\r\n\x85\x0b\0\x7f漢"


def test_control_characters_never_come_out_raw(program: LoneView) -> None:
    shown: list[events.ClientEvent] = [
        *(
            events.MessageReceived("Thea", 0, EVIL, own=False),
            events.MessageReceived(EVIL, 0, "Hi", own=True),
        ),
        *(
            events.MemberJoined(EVIL),
            events.MemberLeft(EVIL, Reason.LEFT, EVIL),
            events.NoticeReceived(EVIL),
            events.TopicSet(EVIL, 0, changed=True),
            events.MotdReceived(EVIL),
            events.Warned(EVIL),
        ),
        *(events.Entered((EVIL,)), events.Failed(EVIL, EVIL, 1)),
    ]
    for event in shown:
        program.view.show(event)
    for line in program.shown:
        assert line.isascii()
        assert line.isprintable()
        assert r"\u001b[2J\u009b31m\u202e\u2028\r\n\u0085\u000b\u0000\u007f" in line
    assert len(program.shown) == len(shown)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters(codec=None)).filter(lambda text: text[:1] != "\x01"))
def test_any_text_comes_out_as_it_was(text: str) -> None:
    fields = fields_of(events.MessageReceived("Thea", 0, text, own=False))
    line = json.dumps(fields)
    assert line.isascii()
    assert json.loads(line)["text"] == text


# -- commands


@pytest.mark.parametrize(
    ("line", "noted"),
    [
        ('{"say": "Hi"}', ["say Hi"]),
        ('{ "say" : "one\\ntwo \\u001b \\u6f22" }', ["say one\ntwo \x1b 漢"]),
        ('{"say": "/help"}', ["say /help"]),
        ('{"say": "EXIT"}', ["say EXIT"]),
        ('{"say": "{\\"leave\\": true}"}', ['say {"leave": true}']),
        ('{"me": "waves"}', ["say \x01ACTION waves\x01"]),
        ('{"direct": {"to": "thea", "text": "Psst"}}', ["say to Thea: Psst"]),
        ('{"direct": {"text": "/who", "to": "sahnawaz"}}', ["say to sahnawaz: /who"]),
        ("plain", ["say plain"]),
        ("/help", ["say /help"]),
        (' \t{"say": "Hi"}', ["say Hi"]),
        ('\ufeff{"say": "Hi"}', ["say Hi"]),
        (" \ufeff plain [1]", ["say  \ufeff plain [1]"]),
        ("", []),
    ],
)
def test_command_is_obeyed_and_any_other_line_is_said(
    program: LoneView, line: str, noted: list[str]
) -> None:
    program.type(line)
    assert program.client.noted == noted
    assert program.shown == []
    assert program.view.not_sent == 0


@pytest.mark.parametrize(
    ("line", "text", "counts"),
    [
        ("gr\udcff", "it is not UTF-8", (1, 0)),
        ('{"say": "gr\udcff"}', "it is not UTF-8", (1, 0)),
        ('{"say": "\\udcff"}', "it is not UTF-8", (1, 0)),
        (
            '{"\udcff": true}',
            ALL_COMMANDS,
            (0, 1),
        ),
    ],
)
def test_line_that_is_not_utf_8_is_not_sent(
    program: LoneView, line: str, text: str, counts: tuple[int, int]
) -> None:
    program.type(line)
    assert program.client.noted == []
    assert objects(program) == [{"event": "warning", "text": text}]
    assert (program.view.not_sent, program.view.not_commands) == counts


def test_who_lists_the_members(program: LoneView) -> None:
    program.type('{"who": true}')
    (told,) = objects(program)
    assert told.keys() == {"event", "members"}
    assert told["event"] == "members"
    assert told["members"][0] == {
        "name": "Ira",
        "since": 1_687_665_924,
        "fingerprint": KEY,
        "connections": 1,
        "calling": False,
        "known": "you",
        "known_since": None,
        "unproved": False,
        "ignored": False,
    }
    assert [member["name"] for member in told["members"]] == ["Ira", "sahnawaz", "Thea"]


@pytest.mark.parametrize("invite", [None, "chat://chat.example:9443/AQAB"])
def test_invite_is_told_to_who_asks(program: LoneView, invite: str | None) -> None:
    program.client.invite = invite
    program.type('{"invite": true}')
    assert objects(program) == [{"event": "invite", "invite": invite}]


def test_security_is_asked_for(program: LoneView) -> None:
    program.client.here = events.Security(
        bytes(16), "SHA256:server", 7.5, False, 2, 6.5, 1, ("Bob",), ()
    )
    program.type('{"security": true}')
    (told,) = objects(program)
    assert [member["name"] for member in told.pop("members")] == ["Ira", "sahnawaz", "Thea"]
    assert told == {
        "event": "security",
        "room": "sealed",
        "tag": "0" * 32,
        "server": "SHA256:server",
        "checked": 7.5,
        "all_checked": False,
        "tampered": 2,
        "tampered_at": 6.5,
        "unconfirmed": 1,
        "split": ["Bob"],
    }


def test_program_is_warned_of_who_has_lost_the_connection(program: LoneView) -> None:
    program.client.people[2] = events.Person("Thea", 0, bytes([9]) * 32, connections=0)
    program.type('{"direct": {"to": "Thea", "text": "Hi"}}')
    (told,) = objects(program)
    assert told["event"] == "warning"
    assert told["text"].startswith("Thea has lost the connection: ")
    assert "say to Thea: Hi" in program.client.noted


def test_program_ignores_and_trusts(program: LoneView) -> None:
    program.client.people[2] = events.Person("Thea", 0, bytes([9]) * 32)
    program.type('{"ignore": "THEA"}', '{"ignore": "Bob"}', '{"unignore": "Thea"}')
    program.type('{"who": true}', '{"trust": "Thea"}', '{"trust": "Bob"}')
    names, nobody, same, none, before, after, unknown = objects(program)
    assert names == same == {"event": "ignored", "names": ["Thea"]}
    assert nobody == {"event": "warning", "text": "nobody else is called Bob"}
    assert none == {"event": "ignored", "names": []}
    since = 1_687_579_524
    assert [
        [(one["known"], one["known_since"]) for one in told["members"]] for told in (before, after)
    ] == [
        [("you", None), ("new", since), ("changed", since)],
        [("you", None), ("new", since), ("known", since)],
    ]
    assert unknown == {"event": "warning", "text": "nobody here is called Bob"}
    assert program.view.not_commands == 0


@pytest.mark.parametrize("line", ['{"leave": true}', "EXIT"])
def test_leave_lets_everything_be_acknowledged_and_nothing_more_be_read(
    reactor: Reactor, program: LoneView, line: str
) -> None:
    program.send(f"one\n{line}\nmore\n".encode())
    until(reactor, lambda: "finish" in program.client.noted)
    program.view.take_input(True)
    assert program.client.noted == ["say one", "finish"]


NO_COMMANDS = {
    "this is not JSON: ": [
        *("{", "{say}", '{"say": "Hi"} ok', '{"say": "a\tb"}', '\xa0{"say": "Hi"'),
        *('{"say": ' + "9" * 5000 + "}", '{"say": ' + "[" * 10_000),
    ],
    "a command is an object with one field": [
        *("{}", "[1]", ' [{"say": "Hi"}]', '{"say": "Hi", "me": "waves"}')
    ],
    ALL_COMMANDS: [*('{"shout": "Hi"}', '{"SAY": "Hi"}', '{"": ""}')],
    "say takes a text that is not empty": [
        *('{"say": ""}', '{"say": 1}', '{"say": null}', '{"say": ["Hi"]}')
    ],
    "me takes a text that is not empty": ['{"me": ""}', '{"me": true}'],
    'direct takes an object with "to", a name, and "text", a text that is not empty': [
        *('{"direct": "Thea"}', '{"direct": {"to": "Thea"}}', '{"direct": {"text": "Hi"}}'),
        *('{"direct": {"to": 1, "text": "Hi"}}', '{"direct": {"to": "Thea", "text": ""}}'),
        '{"direct": {"to": "Thea", "text": "Hi", "key": 1}}',
    ],
    "who takes true": ['{"who": 1}', '{"who": false}', '{"who": "true"}'],
    "security takes true": ['{"security": 1}'],
    "trust takes a name": ['{"trust": ""}', '{"trust": true}'],
    "ignore takes a name": ['{"ignore": ""}', '{"ignore": 1}'],
    "unignore takes a name": ['{"unignore": ""}'],
    "leave takes true": ['{"leave": "now"}', '{"leave": false}', '{"leave": 1}'],
    "nobody here is called The: perhaps Thea is meant": ['{"direct": {"to": "The", "text": "Hi"}}'],
    "it is too long": [
        *(json.dumps({"say": "x" * (LONGEST + 1)}), json.dumps({"me": "x" * LONGEST})),
        "x" * (LONGEST + 1),
    ],
}


@pytest.mark.parametrize(
    ("line", "text"),
    [(line, text) for text, lines in NO_COMMANDS.items() for line in lines],
    ids=lambda value: value[:30],
)
def test_what_is_no_command_or_too_long_is_warned_of_and_counted_as_what_it_is(
    program: LoneView, line: str, text: str
) -> None:
    program.type(line)
    assert program.client.noted == []
    (warning,) = objects(program)
    assert warning["event"] == "warning"
    assert warning["text"].startswith(text)
    not_sent = text.startswith(("it is too long", "nobody"))
    assert (program.view.not_sent, program.view.not_commands) == (not_sent, not not_sent)


@pytest.mark.parametrize("line", ["/who", "//x", "/nonsense", '{"who": true}'])
def test_program_at_a_terminal_is_shown_objects_and_nothing_else(
    reactor: Reactor, line: str
) -> None:
    with seat_at_terminal(reactor, JsonView) as seat:
        seat.type(line)
        assert all(isinstance(shown, dict) for shown in objects(seat))
