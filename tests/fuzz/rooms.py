"""A participant whose server lies, and a room in which Mallory is not honest."""

import json
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from chat.client.events import ClientEvent, FrameRefused, LogGone, Tampered
from chat.client.participant import Participant
from chat.controls import CONTROLS, Control, Resend, Resumed, Roster, decode_control
from chat.errors import ProtocolError, Reason, RefusedError
from chat.identities import RosterEntry
from chat.limits import MAX_CONNECTIONS_OF_KEY, MAX_EPOCHS, MAX_SUBMIT_BYTES, MAX_TRAIL
from chat.roomevents import Back, Closing, Lost, Notice
from chat.text import caseless_name
from chat.ui.jsonlines import fields_of
from chat.ui.transcript import happened
from chat.wire import Event, Message, room_headers, starts_frame
from tests.fuzz.choices import Choices, cheap
from tests.support.hall import US, MemberInMemory, RoomInMemory, Server, entry
from tests.support.helpers import FixedBytes

MALLORY = "Mallory"
_NAMES = ("Ira", "Sahnawaz", "Thea", MALLORY, "ira", "the server", "\u202eIra", "")
_MOST = 2**32 - 2


class _Liar(Server):
    """Says what is well sealed and well formed, and mostly what an honest server would."""

    def __init__(self, choices: Choices) -> None:
        super().__init__(epoch=1)
        self.choices = choices
        self.seqs: Counter[int] = Counter()

    def lie(self) -> None:
        """Now and then, go on from somewhere else."""
        near = self.choices.near
        self.epoch, self.event_seq = near(self.epoch, _MOST), near(self.event_seq, 2**64 - 2)
        self.offset = near(self.offset, 2**63 + 1)
        if self.choices.number(64) == 63:
            self.restart(self.choices.pick((self.room, b"")))

    def entries(self, first: int, count: int) -> tuple[RosterEntry, ...]:
        """As many members as these, or very many."""
        near = self.choices.near
        numbers = range(near(first, 9), near(first + count, 300))
        return tuple(entry(near(n, _MOST), f"{_NAMES[n % 8]}{n // 8 or ''}") for n in numbers)

    def control(self) -> Control:
        near, take = self.choices.near, self.choices.take
        kinds = [*CONTROLS]
        makers: tuple[Callable[[], Control], ...] = (
            lambda: Roster(self.entries(1, 3)),
            lambda: self.welcome(near(US, _MOST), near(3, _MOST), self.offset, near(0, 2**64 - 1)),
            self.rekey,
            lambda: Resend(near(1, 2**64 - 1)),
            self.check,
            Resumed,
            lambda: decode_control(bytes((self.choices.pick(kinds),)) + take(near(32, 255))),
        )
        return self.choices.pick(makers)()

    def room_event(self) -> bytes:
        near, take = self.choices.near, self.choices.take
        key = self.secret.event_key()
        makers: tuple[Callable[[], bytes], ...] = (
            lambda: self.joined(*self.entries(4, 1)),
            lambda: self.left(near(2, 9), reason=self.choices.pick([*Reason])),
            lambda: self.event(Lost(near(2, 9))),
            lambda: self.event(Back(near(2, 9))),
            lambda: self.event(Notice(take(9).decode(errors="ignore"))),
            lambda: self.event(Closing()),
            lambda: self.seal(Event.TYPE, key, near(0, 4), self.event_seq + 1, take(near(5, 99))),
        )
        return self.choices.pick(makers)()

    def said(self) -> bytes:
        near, choices = self.choices.near, self.choices
        sender = near(2, 4)
        seq = self.seqs[sender] = near(self.seqs[sender] + 1, 2**64 - 1)
        if choices.number(4):
            text = choices.take(choices.number(32)).decode(errors="ignore")
            return self.message(seq, text, sender, number=near(seq, 2**64 - 1))
        kind = bytes((choices.number(4),))
        return self.content(seq, kind + choices.take(near(80, 255)), sender)


def _assert_consistent(us: Participant) -> None:
    outbox, keyring, membership = us._outbox, us._keyring, us._membership
    assert 0 <= outbox.unsent <= len(outbox.messages)
    assert outbox.sent_seq < outbox.first_seq + len(outbox.messages)
    assert outbox.size == sum(len(content.body) for content in outbox.messages)
    assert max(len(keyring._known), len(keyring._repeat)) <= MAX_EPOCHS
    us.first_control().encode()
    names = Counter(caseless_name(person.name) for person in us.members())
    assert not names or max(names.values()) == 1
    assert not us.in_room or us.has_joined
    if membership is not None:
        assert membership.trail.checked_offset <= membership.trail.offset
        assert len(membership.trail._places) <= MAX_TRAIL


def participant(data: bytes) -> None:
    """Whatever a server says, the participant takes it or calls it a breach of the protocol."""
    choices, now = Choices(data), 0.0
    liar, us = _Liar(choices), Participant(FixedBytes("us"))
    ours: deque[bytes] = deque([b""], maxlen=8)

    def step() -> list[ClientEvent]:
        nonlocal now
        action = choices.number(8)
        liar.lie()
        if action < 3:
            return us.receive_control(liar.control(), now)
        if action < 6:
            make, kind = choices.pick(((liar.room_event, Event.TYPE), (liar.said, Message.TYPE)))
            run = make() * choices.pick((1, 1, 1, 2))
            run += choices.pick(ours) if kind == Message.TYPE and choices.number(4) == 3 else b""
            before = us._membership.trail.offset if us._membership else 0
            events = us.receive_frames(kind, run)
            after = us._membership.trail.offset if us._membership else 0
            assert starts_frame(run, max(0, after - before))
            return events
        if action == 6:
            us.say(choices.take(choices.number(32)).decode(errors="ignore"), 7)
            ours.extend(us.data_to_send())
        now += choices.pick((0.1, 1, 11, 46, 700))
        us.tick(now)
        if us.overdue or choices.number(8) == 7:
            us.disconnect()
        return []

    while choices:
        us.note_activity(now)
        events = []
        try:
            events = step()
        except ProtocolError:
            us.disconnect()
        for event in events:
            happened(event)
            json.dumps(fields_of(event))
            if isinstance(event, FrameRefused | LogGone | Tampered):
                us.disconnect()
        _assert_consistent(us)


# -- an honest room ----------------------------------------------------------------------------


def _submit(hall: RoomInMemory, seat: MemberInMemory, run: bytes) -> None:
    """Let the room judge a run, and what it appends by the rules."""
    room, member = hall.room, seat.member
    seq, messages, end = member.seq, room.messages, hall.log.end

    def judge() -> None:
        # Once: the second time it would be a repeat, which must be cheap, too.
        answers = room.submit(member, run, hall.now)
        assert len(answers) <= 1
        hall.deliver(answers)

    try:
        cheap(judge)
    except ProtocolError:
        hall.leave(seat)
    appended = hall.log.read(end, hall.log.end)
    headers = list(room_headers(Message.TYPE, appended))
    assert [header.seq for header in headers] == list(range(seq + 1, member.seq + 1))
    assert {header.sender for header in headers} <= {member.id}
    assert room.messages == messages + len(headers)
    assert all(appended[header.start : header.end] in run for header in headers)


def _misbehave(hall: RoomInMemory, seat: MemberInMemory, choices: Choices) -> None:
    """Mallory has the room's keys, and says what no client says."""
    near, seq, run = choices.near, seat.member.seq, b""
    forger = Server()
    for _ in range(choices.number(20)):
        seq = near(seq + 1, 2**64 - 1)
        forger.epoch, forger.secret = near(hall.room.epoch, _MOST), hall.room._epochs.secret
        run += forger.content(seq, choices.take(near(50, 99)), near(seat.member.id, _MOST))
    run *= choices.pick((1, 1, 1, 300))
    _submit(hall, seat, (run if choices.number(4) else choices.mutated(run))[:MAX_SUBMIT_BYTES])


def _act(hall: RoomInMemory, seat: MemberInMemory, action: int, choices: Choices) -> None:
    is_in, honest = seat.member.id in hall.room.members, seat.member.name != MALLORY
    if action <= 5 and honest:
        seat.read(choices.number(64))
    elif action <= 7 and honest:
        seat.say(f"{seat.member.id}: message {len(seat.texts)}")
        seat.carry(choices.number(16))
    elif action <= 7 and is_in and seat.connected:
        _misbehave(hall, seat, choices)
    elif action == 8 and is_in:
        hall.lose(seat)
    elif action == 9 and is_in and seat.participant.has_joined:
        hall.come_back(seat)
    elif action == 10:
        hall.leave(seat)


def room(data: bytes) -> None:
    """Whatever members do and when, the honest ones believe the room. In the end they have the same
    log and the same list of members, and everything that was said has arrived, once."""
    choices, hall = Choices(data), RoomInMemory()
    while choices:
        action, seats = choices.number(16), list(hall.seats.values())
        if action == 15 or not seats:
            name = choices.pick(_NAMES)
            # So many that each can come back.
            if sum(seat.member.name == name for seat in seats) < MAX_CONNECTIONS_OF_KEY:
                with suppress(RefusedError):
                    hall.join(name)
        elif action == 14:
            hall.pass_time(choices.pick((0.05, 1, 5, 11, 61, 601)))
        elif action == 13:
            hall.room.say("a notice")
        elif action == 12:
            hall.trim(choices.pick((2**20, 5_000, 1_000)))
        else:
            _act(hall, choices.pick(seats), action, choices)
    for _ in range(30):
        for seat in list(hall.seats.values()):
            if seat.member.name == MALLORY or not (seat.connected or seat.participant.has_joined):
                hall.leave(seat)
            elif not seat.connected:
                hall.come_back(seat)
        hall.pass_time(1)
        hall.settle()
    for seat in hall.everybody:
        _assert_believes(hall, seat)


def _assert_believes(hall: RoomInMemory, seat: MemberInMemory) -> None:
    assert not any(isinstance(event, FrameRefused) for event in seat.shown)
    assert not any(isinstance(event, Tampered) and event.certain for event in seat.shown)
    assert all(text.startswith(MALLORY) for text in seat.warnings())
    heard = [text for name, text in seat.said() if name != MALLORY]
    assert len(heard) == len(set(heard))
    if hall.seats.get(seat.member.id) is seat:
        us, membership = seat.participant, seat.participant._membership
        assert us.can_send
        assert us.unacknowledged == 0
        assert membership is not None
        assert membership.trail.checked
        assert membership.trail.seen().offset == hall.log.end
        assert membership.trail.seen().digest == hall.room._hash.digest()[:16]
        here = Counter(member.name for member in hall.room.members.values())
        assert {person.name: person.connections for person in us.members()} == here
