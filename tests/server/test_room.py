"""The room at the server: members, epochs and their keys, and the entries of the log."""

import sys
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat import limits
from chat.cipher import sealed_bytes
from chat.errors import ProtocolError, Reason, RefusedError
from chat.kex import RoomSecret
from chat.messages import (
    Back,
    Closing,
    Control,
    Joined,
    Left,
    Lost,
    Notice,
    Rekey,
    Resend,
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
    Welcome,
    decode_control,
    decode_room_event,
)
from chat.server import room as room_module
from chat.server.log import OrderedLog
from chat.server.room import Member, Room, Unicast, bytes_again
from chat.wire import ROOM_HEADER_BYTES, Event, Message, block, room_headers
from tests.support.helpers import FixedBytes, frames_of, open_frame

FINGERPRINT = bytes(range(32))
JOINED_AT = 1_700_000_005.75
SINCE = 1_700_000_005
NOWHERE = 2**64 - 1


def message(member: Member, seq: int, epoch: int, content: bytes = b"sealed") -> bytes:
    """A MESSAGE frame. The room never opens its content."""
    return Message(epoch, member.id, seq, content).to_wire()


class FreshSecrets:
    """A source of random bytes that keeps those which the room makes its fresh secrets of."""

    def __init__(self) -> None:
        self.made: list[RoomSecret] = []
        self._source = FixedBytes("room")

    def __call__(self, size: int) -> bytes:
        taken = self._source(size)
        if size == limits.ROOM_SECRET_BYTES:
            self.made.append(RoomSecret(taken))
        return taken


class Bench:
    """A room with its log, and what it delivered. Time stands still until `now` is set."""

    def __init__(self, grace_seconds: float = limits.GRACE_SECONDS) -> None:
        self.log = OrderedLog(2**30)
        self.fresh = FreshSecrets()
        self.room = Room(self.log, self.fresh, grace_seconds)
        self.now = 1_000.0
        self.joins = 0
        self.secrets: dict[int, RoomSecret] = {}
        self.delivered: list[Unicast] = []

    def tick(self) -> list[Unicast]:
        unicasts = self.room.tick(self.now)
        self.delivered += unicasts
        return unicasts

    def join(self, name: str) -> Member:
        """Let somebody in, each a minute after the one before."""
        member = self.room.join(name, FINGERPRINT, joined_at=JOINED_AT + 60 * self.joins)
        self.joins += 1
        return member

    def enter(self, *names: str) -> list[Member]:
        """Let these in, one step for all, long after whatever happened before."""
        members = [self.join(name) for name in names]
        self.now += 1
        self.tick()
        return members

    def depart(self, *leavers: Member) -> int:
        """Let these leave, and everybody have a fresh secret; returns where the log ends then."""
        for leaver in leavers:
            self.room.leave(leaver, Reason.LEFT)
        self.now += 1
        self.tick()
        return self.log.end

    def resume(
        self, member: Member, offset: int, epoch: int, fingerprint: bytes = FINGERPRINT
    ) -> list[tuple[int, Control]] | None:
        """Let a member come back; what it is sent, each with its place. None if it may not."""
        return self.ask(Resume(member.id, member.token, offset, epoch), fingerprint)

    def ask(
        self, request: Resume, fingerprint: bytes = FINGERPRINT
    ) -> list[tuple[int, Control]] | None:
        resumed = self.room.resume(request, fingerprint, self.now)
        if resumed is None:
            return None
        member, unicasts = resumed
        assert member is self.room.members[request.member]
        self.delivered += unicasts
        return [
            (unicast.at, control)
            for unicast in unicasts
            if unicast.member is member
            for control in controls(unicast)
        ]

    def submit(self, member: Member, *frames: bytes) -> tuple[int, list[Control]]:
        """Submit one run; what the member is answered, all of it at the end of the log."""
        before = self.room.messages
        unicasts = self.room.submit(member, b"".join(frames), self.now)
        count = self.room.messages - before
        for unicast in unicasts:
            assert (unicast.member, unicast.at) == (member, self.log.end)
        return count, [control for unicast in unicasts for control in controls(unicast)]

    def frames(self, wanted: int) -> list[bytes]:
        """The frames of this type in the log."""
        whole = frames_of(self.log.read(0, self.log.end))
        return [frame for frame_type, frame in whole if frame_type == wanted]

    def events(self) -> list[tuple[int, RoomEvent]]:
        """The events in the log, each with the epoch under which it is sealed. They are numbered
        without a gap, and an epoch's last is the one that ends it. What was delivered agrees."""
        found = []
        fresh = iter(self.fresh.made)
        epoch = 1
        self.secrets = {epoch: next(fresh)}
        for number, data in enumerate(self.frames(Event.TYPE), 1):
            (header,) = room_headers(data)
            assert (header.epoch, header.sender, header.seq) == (epoch, 0, number)
            secret = self.secrets[epoch]
            event = decode_room_event(open_frame(secret.event_key(), data))
            found.append((epoch, event))
            if isinstance(event, Joined | Left):
                epoch += 1
                self.secrets[epoch] = secret.step() if isinstance(event, Joined) else next(fresh)
        assert epoch == self.room.epoch
        for control in (control for unicast in self.delivered for control in controls(unicast)):
            if isinstance(control, Welcome | Rekey):
                assert control.secret == self.secrets[control.epoch].secret
        return found

    def happened(self) -> list[RoomEvent]:
        return [event for _, event in self.events()]


def controls(unicast: Unicast) -> list[Control]:
    return [decode_control(control) for control in unicast.controls]


def entry(member: Member, seq: int = 0) -> RosterEntry:
    """What everybody is told of a member, since when it is in in whole seconds."""
    return RosterEntry(member.id, seq, member.name, FINGERPRINT, SINCE + 60 * (member.id - 1))


# -- joins -------------------------------------------------------------------------------------


def test_join_takes_effect_at_the_tick() -> None:
    bench = Bench()
    ira = bench.join("Ira")
    assert (bench.room.members, bench.log.end, bench.room.epoch) == ({}, 0, 1)
    (unicast,) = bench.tick()
    assert bench.room.members == {ira.id: ira}
    assert bench.room.epoch == ira.epoch == 2
    assert bench.events() == [(1, Joined((entry(ira),)))]
    assert (unicast.member, unicast.at) == (ira, bench.log.end)
    welcome, roster = controls(unicast)
    stepped = bench.secrets[1].step().secret
    assert welcome == Welcome(bench.room.id, ira.id, ira.token, 2, stepped, bench.log.end, 0, 1, 1)
    assert roster == Roster((entry(ira),))


def test_storm_of_joins_is_spread_over_steps_that_fit_into_frames() -> None:
    bench = Bench()
    numbers = range(limits.JOINS_PER_STEP + 1)
    members = [bench.join(chr(0x20000 + number) * limits.MAX_NAME_CHARS) for number in numbers]
    assert len(bench.tick()) == limits.JOINS_PER_STEP
    assert bench.room.deadline == bench.now + limits.JOIN_INTERVAL_SECONDS
    bench.now += limits.JOIN_INTERVAL_SECONDS
    (last,) = bench.tick()
    assert bench.room.deadline is None
    assert bench.happened() == [
        Joined(tuple(map(entry, members[: limits.JOINS_PER_STEP]))),
        Joined((entry(members[-1]),)),
    ]
    welcome, *rosters = controls(last)
    assert isinstance(welcome, Welcome)
    assert welcome.members == len(members)
    assert rosters == [
        Roster(tuple(map(entry, members[: limits.JOINS_PER_STEP]))),
        Roster((entry(members[-1]),)),
    ]
    for control in last.controls:
        assert 3 + sealed_bytes(len(control)) <= limits.MAX_FRAME_BYTES


def test_welcome_gives_the_numbers_heard_so_far() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.submit(ira, message(ira, 1, 2), message(ira, 2, 2))
    bench.submit(sahnawaz, message(sahnawaz, 1, 2))
    bench.room.say("hello")
    (thea,) = bench.enter("Thea")
    welcome, roster = controls(bench.delivered[-1])
    assert len(bench.events()) == 3
    secret = bench.secrets[3].secret
    assert welcome == Welcome(bench.room.id, thea.id, thea.token, 3, secret, bench.log.end, 3, 3, 3)
    assert roster == Roster((entry(ira, 2), entry(sahnawaz, 1), entry(thea)))


def test_number_of_a_member_is_never_given_again() -> None:
    bench = Bench()
    (ira,) = bench.enter("Ira")
    bench.room.leave(ira, Reason.LEFT)
    thea = bench.join("Thea")
    bench.room.leave(thea, Reason.LEFT)
    (again,) = bench.enter("Ira")
    assert len({ira.id, thea.id, again.id, 0}) == 4


# -- joins and leaves in time ------------------------------------------------------------------

Moment = tuple[float, str, str, float | None]
"""A time in seconds, joins (+) and leaves (-) at it, what is announced, and the next deadline."""

TIMELINES: dict[str, list[Moment]] = {
    "joins of one tick make one step": [(0, "+A +B +C", "+A +B +C", None), (100, "", "", None)],
    "joins that come fast share the next step": [
        (0, "+A", "+A", None),
        (0, "+B", "", limits.JOIN_INTERVAL_SECONDS),
        (limits.JOIN_INTERVAL_SECONDS * 0.9, "+C", "", limits.JOIN_INTERVAL_SECONDS),
        (limits.JOIN_INTERVAL_SECONDS, "", "+B +C", None),
    ],
    "leaves that come fast make one new secret": [
        (0, "+A +B +C +D", "+A +B +C +D", None),
        (1, "-A", "-A", None),
        (1, "-B", "", 1 + limits.LEAVE_INTERVAL_SECONDS),
        (1 + limits.LEAVE_INTERVAL_SECONDS * 0.9, "-C", "", 1 + limits.LEAVE_INTERVAL_SECONDS),
        (1 + limits.LEAVE_INTERVAL_SECONDS, "", "-B -C", None),
    ],
    "departures come before newcomers": [(0, "+A +B", "+A +B", None), (1, "+C -A", "-A/+C", None)],
    "newcomers wait for departures that wait": [
        (0, "+A +B +C", "+A +B +C", None),
        (1, "-A", "-A", None),
        (1, "-B +D", "", 1 + limits.LEAVE_INTERVAL_SECONDS),
        (1 + limits.LEAVE_INTERVAL_SECONDS * 0.9, "", "", 1 + limits.LEAVE_INTERVAL_SECONDS),
        (1 + limits.LEAVE_INTERVAL_SECONDS, "", "-B/+D", None),
    ],
    "the last one out leaves a room that can be entered": [
        (0, "+A", "+A", None),
        (1, "-A", "-A", None),
        (2, "+A", "+A", None),
    ],
    "a name is free again before its leave is announced": [
        (0, "+A", "+A", None),
        (1, "-A +A", "-A/+A", None),
    ],
    "a newcomer who goes before the tick was never there": [
        (0, "+A -A", "", None),
        (0, "+A", "+A", None),
    ],
}


@pytest.mark.parametrize("moments", TIMELINES.values(), ids=TIMELINES)
def test_joins_and_leaves_are_announced_in_order_and_not_too_often(moments: list[Moment]) -> None:
    """Each join steps the secret and welcomes the newcomers alone; each leave begins a fresh one,
    which goes to all who stay."""
    bench, here = Bench(), dict[str, Member]()
    expected: list[RoomEvent] = []
    inside: list[Member] = []
    start = bench.now
    for seconds, acts, announced, deadline in moments:
        bench.now = start + seconds
        for act in acts.split():
            if act[0] == "+":
                here[act[1]] = bench.join(act[1])
            else:
                here[act] = here.pop(act[1])
                bench.room.leave(here[act], Reason.LEFT)
                inside = [member for member in inside if member is not here[act]]
        due = bench.room.deadline
        assert bool(announced) is (due is not None and due <= bench.now)
        unicasts = bench.tick()
        places = [unicast.at for unicast in unicasts]
        assert places == sorted(places)
        assert places[-1:] == [bench.log.end] * bool(places)
        for part in announced.split("/") if announced else []:
            if part[0] == "+":
                told = [here[each[1]] for each in part.split()]
                expected.append(Joined(tuple(map(entry, told))))
                inside += told
            else:
                gone = [here[each] for each in part.split()]
                expected.append(Left(tuple((member.id, Reason.LEFT) for member in gone)))
                told = inside
            answers, unicasts = unicasts[: len(told)], unicasts[len(told) :]
            assert [unicast.member for unicast in answers] == told
            assert len({unicast.at for unicast in answers}) <= 1
            for unicast in answers:
                first, *rosters = controls(unicast)
                if part[0] == "+":
                    assert isinstance(first, Welcome)
                    assert rosters == [Roster(tuple(map(entry, inside)))]
                    assert unicast.member.epoch == first.epoch == 1 + len(expected)
                else:
                    assert controls(unicast) == [
                        Rekey(1 + len(expected), bench.fresh.made[-1].secret)
                    ]
        assert unicasts == []
        assert bench.happened() == expected
        assert list(bench.room.members.values()) == inside
        assert bench.room.deadline == (None if deadline is None else start + deadline)


def test_steady_departures_do_not_keep_newcomers_out() -> None:
    bench = Bench()
    members = bench.enter(*(f"member {number}" for number in range(30)))
    zoe = bench.join("Zoë")
    for leaver in members:
        bench.room.leave(leaver, Reason.LEFT)
        bench.now += limits.LEAVE_INTERVAL_SECONDS / 3
        bench.tick()
        if zoe.epoch:
            break
    assert zoe.id in bench.room.members
    assert len(bench.room.members) > 20


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "wanted"), [("Ira", "Ira"), ("Straße", "STRASSE"), ("ZOË", "Zoe\u0308"), ("ﬁ", "FI")]
)
def test_name_that_reads_the_same_is_taken(taken: str, wanted: str) -> None:
    """All that `fold_name` takes for the same is in `test_text.py`."""
    for first, second in ((taken, wanted), (wanted, taken)):
        bench = Bench()
        member = bench.join(first)
        assert member.name == unicodedata.normalize("NFC", first)
        for _ in range(2):
            with pytest.raises(RefusedError, match="is taken") as refusal:
                bench.join(second)
            assert refusal.value.reason is Reason.NAME_TAKEN
            assert bench.room.find(second) is member
            # Announced or not, it is taken.
            bench.tick()
    bench.enter("Írä")


@pytest.mark.parametrize("name", ["", " Ira", "a:b", "x" * (limits.MAX_NAME_CHARS + 1), "\x1b[m"])
def test_name_that_cannot_be_used_is_refused(name: str) -> None:
    bench = Bench()
    with pytest.raises(RefusedError) as refusal:
        bench.join(name)
    assert refusal.value.reason is Reason.NAME_INVALID
    assert str(refusal.value).isprintable()
    assert bench.room.deadline is None


def test_full_room_refuses_until_somebody_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "MAX_MEMBERS", 2)
    bench = Bench()
    (ira,) = bench.enter("Ira")
    bench.join("Sahnawaz")
    with pytest.raises(RefusedError) as refusal:
        bench.join("Thea")
    assert refusal.value.reason is Reason.FULL
    with pytest.raises(RefusedError, match="is taken"):
        bench.join("ira")
    bench.room.leave(ira, Reason.LEFT)
    bench.join("Thea")


# -- losing the connection ---------------------------------------------------------------------


def test_lost_member_keeps_its_place_and_is_announced_once() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.room.suspend(ira, bench.now)
    bench.room.suspend(ira, bench.now + 1)
    assert bench.room.members == {ira.id: ira, sahnawaz.id: sahnawaz}
    assert bench.room.find("ira") is ira
    assert bench.room.deadline == bench.now + limits.GRACE_SECONDS
    assert bench.tick() == []
    assert bench.events()[1:] == [(2, Lost(ira.id))]
    # A newcomer's roster has it, too.
    bench.enter("Thea")
    roster = controls(bench.delivered[-1])[1]
    assert isinstance(roster, Roster)
    assert entry(ira) in roster.entries


def test_lost_member_leaves_when_its_grace_is_over() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.room.suspend(ira, bench.now)
    offset = bench.log.end
    bench.now += limits.GRACE_SECONDS - 0.001
    assert bench.room.end_grace(bench.now) == []
    bench.now += 0.001
    assert bench.room.end_grace(bench.now) == [ira]
    assert bench.room.end_grace(bench.now) == []
    assert [unicast.member for unicast in bench.tick()] == [sahnawaz]
    assert bench.happened()[1:] == [Lost(ira.id), Left(((ira.id, Reason.LOST),))]
    assert bench.room.deadline is None
    assert bench.resume(ira, offset, 2) is None
    bench.join("Ira")


def test_each_lost_member_has_a_grace_of_its_own() -> None:
    bench = Bench()
    ira, sahnawaz, thea = bench.enter("Ira", "Sahnawaz", "Thea")
    start = bench.now
    for seconds, member in ((0, ira), (10, sahnawaz), (20, thea)):
        bench.room.suspend(member, start + seconds)
    # A member that comes back and is lost again has a whole grace; one that leaves needs none.
    assert bench.resume(ira, bench.log.end, 2) is not None
    bench.room.suspend(ira, start + 30)
    bench.room.leave(sahnawaz, Reason.REPLACED)
    bench.tick()
    assert bench.room.deadline == start + 20 + limits.GRACE_SECONDS
    assert bench.room.end_grace(start + 20 + limits.GRACE_SECONDS) == [thea]
    assert bench.room.end_grace(start + 30 + limits.GRACE_SECONDS) == [ira]
    # Whose grace has ended by the next tick leave together.
    bench.now = start + 30 + limits.GRACE_SECONDS
    assert bench.tick() == []
    assert bench.happened()[-1] == Left(((thea.id, Reason.LOST), (ira.id, Reason.LOST)))


@pytest.mark.parametrize("by", ["key", "source"])
def test_when_too_many_of_one_key_or_source_are_lost_the_first_of_them_leaves(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr("chat.server.room.MAX_LOST_OF_KEY", 2 if by == "key" else 100)
    monkeypatch.setattr("chat.server.room.MAX_LOST_OF_SOURCE", 2 if by == "source" else 100)
    bench = Bench()
    ira, *ghosts = bench.enter("Ira", "one", "two", "three", "four")
    ira.fingerprint, ira.source = bytes(32), "elsewhere"
    for member in (ira, *ghosts[:2]):
        bench.room.suspend(member, bench.now)
    assert bench.room.end_grace(bench.now) == []
    # A member that comes back makes room for another one.
    assert bench.resume(ghosts[0], bench.log.end, 2) is not None
    bench.room.suspend(ghosts[2], bench.now)
    assert bench.room.end_grace(bench.now) == []
    bench.room.suspend(ghosts[3], bench.now)
    assert bench.room.end_grace(bench.now) == [ghosts[1]]
    assert bench.room.end_grace(bench.now) == []
    bench.now += 1
    bench.tick()
    assert bench.happened()[-1] == Left(((ghosts[1].id, Reason.LOST),))
    assert bench.room.find("two") is None
    assert bench.room.find("Ira") is ira
    bench.now += limits.GRACE_SECONDS
    assert bench.room.end_grace(bench.now) == [ira, ghosts[2], ghosts[3]]
    assert not bench.room.anybody_lost


def steps(act: Callable[[], object]) -> int:
    """How many lines of Python are run for this, and for all that it calls."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    # What measures coverage traces, too, and is to go on.
    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def test_many_who_are_lost_cost_nothing_while_nobodys_grace_ends() -> None:
    bench = Bench()
    members = bench.enter(*(f"member {number}" for number in range(40)))
    costs = []
    for member in members:
        bench.room.suspend(member, bench.now)
        costs.append(steps(lambda: (bench.room.end_grace(bench.now), bench.room.deadline)))
    assert costs == [costs[0]] * len(members)


@pytest.mark.parametrize(("grace_seconds", "entered"), [(0, True), (limits.GRACE_SECONDS, False)])
def test_without_a_grace_or_an_announcement_there_is_no_place_to_keep(
    grace_seconds: float, entered: bool
) -> None:
    bench = Bench(grace_seconds)
    ira = bench.join("Ira")
    if entered:
        bench.tick()
    assert not bench.room.suspend(ira, bench.now)
    assert len(bench.happened()) == entered


# -- coming back -------------------------------------------------------------------------------


def test_resume_costs_what_is_sent_again() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    welcomed = bench.log.end
    bench.submit(sahnawaz, message(sahnawaz, 1, 2, bytes(1000)))
    ira.sent = bench.log.end
    bench.submit(sahnawaz, message(sahnawaz, 2, 2, bytes(5000)))

    def cost(offset: int) -> int:
        resumed = bench.room.resume(Resume(ira.id, ira.token, offset, 2), FINGERPRINT, bench.now)
        assert resumed is not None
        return bytes_again(*resumed)

    assert cost(ira.sent) < 100
    assert cost(welcomed) == cost(ira.sent) + ira.sent - welcomed > 1000
    everybody = Roster((entry(ira), entry(sahnawaz)))
    assert cost(NOWHERE) > len(everybody.encode())


def test_resume_goes_on_where_the_member_was_and_asks_for_the_rest() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.submit(ira, message(ira, 1, 2), message(ira, 2, 2))
    offset = bench.log.end
    bench.room.suspend(ira, bench.now)
    bench.submit(sahnawaz, message(sahnawaz, 1, 2))
    assert bench.resume(ira, offset, 2) == [(offset, Resumed()), (bench.log.end, Resend(3))]
    assert bench.happened()[1:] == [Lost(ira.id), Back(ira.id)]
    assert bench.room.deadline is None
    # The question has been asked; a message of before the cut is not asked for again.
    assert bench.submit(ira, message(ira, 4, 2)) == (0, [])
    assert bench.submit(ira, message(ira, 2, 2), message(ira, 3, 2)) == (1, [])
    assert bench.submit(ira, message(ira, 5, 2)) == (0, [Resend(4)])


def test_takeover_of_a_connection_that_is_not_known_to_be_dead_is_not_announced() -> None:
    bench = Bench()
    (ira,) = bench.enter("Ira")
    end = bench.log.end
    for _ in range(2):
        assert bench.resume(ira, end, 2) == [(end, Resumed()), (end, Resend(1))]
    assert bench.log.end == end


def test_resume_while_a_departure_waits_goes_on_before_it() -> None:
    bench = Bench()
    ira, sahnawaz, thea = bench.enter("Ira", "Sahnawaz", "Thea")
    offset = bench.log.end
    bench.room.suspend(ira, bench.now)
    bench.room.leave(thea, Reason.LEFT)
    assert bench.resume(ira, offset, 2) == [(offset, Resumed()), (bench.log.end, Resend(1))]
    assert [unicast.member for unicast in bench.tick()] == [ira, sahnawaz]
    assert bench.happened()[1:] == [
        Lost(ira.id),
        Back(ira.id),
        Left(((thea.id, Reason.LEFT),)),
    ]


# -- coming back too late ----------------------------------------------------------------------


def started_over(bench: Bench, member: Member, offset: int, epoch: int) -> Welcome:
    """Resume. The answer is a welcome, the roster and RESEND at the end of the log, with no key
    but the current one."""
    received = bench.resume(member, offset, epoch)
    assert received is not None
    assert {at for at, _ in received} == {bench.log.end}
    (_, welcome), (_, roster), (_, resend) = received
    assert isinstance(welcome, Welcome)
    assert (welcome.room, welcome.member) == (bench.room.id, member.id)
    assert (welcome.token, welcome.epoch) == (member.token, bench.room.epoch)
    assert (welcome.offset, welcome.messages) == (bench.log.end, bench.room.messages)
    everybody = bench.room.members.values()
    assert roster == Roster(tuple(entry(other, other.seq) for other in everybody))
    assert (welcome.members, resend) == (len(everybody), Resend(member.seq + 1))
    return welcome


STARTS_OVER = None
BACK_BYTES = ROOM_HEADER_BYTES + sealed_bytes(len(Back(1).encode()))

PLACES: list[tuple[str, int, list[int] | None]] = [
    # From any place between its own welcome and the end of the log, Ira is told the keys that were
    # renewed since the epoch whose key she has.
    ("welcome", 3, [4, 6]),
    ("place", 3, [4, 6]),
    # Lost between LEFT and REKEY; with the first of them; with all.
    ("renewal of 4", 3, [4, 6]),
    ("renewal of 4", 4, [6]),
    ("renewal of 4", 5, [6]),
    ("renewal of 6", 5, [6]),
    ("renewal of 6", 6, []),
    ("end", 6, []),
    ("place", 6, []),
    # There is no such place; what lies before her welcome is not hers.
    ("end + 1", 6, STARTS_OVER),
    ("nowhere", 6, STARTS_OVER),
    ("before", 3, STARTS_OVER),
    ("start", 3, STARTS_OVER),
    # An epoch to come, and one from before she came.
    ("place", 7, STARTS_OVER),
    ("place", 2**32 - 1, STARTS_OVER),
    ("place", 2, STARTS_OVER),
    ("place", 0, STARTS_OVER),
    # Behind a renewal of which she has no key.
    ("renewal of 4 + 1", 3, STARTS_OVER),
    ("end", 5, STARTS_OVER),
]


@pytest.mark.parametrize(("where", "epoch", "renewed"), PLACES)
def test_resume_continues_in_the_log_or_starts_over(
    where: str, epoch: int, renewed: list[int] | None
) -> None:
    bench = Bench()
    sahnawaz, thea, zoe = bench.enter("Sahnawaz", "Thea", "Zoë")
    before = bench.log.end
    (ira,) = bench.enter("Ira")
    places = {"start": 0, "before": before, "welcome": bench.log.end}
    bench.submit(sahnawaz, message(sahnawaz, 1, 3))
    places["place"] = bench.log.end
    bench.room.suspend(ira, bench.now)
    bench.submit(sahnawaz, message(sahnawaz, 2, 3))
    places["renewal of 4"] = bench.depart(thea)
    bench.enter("Mei")
    bench.submit(sahnawaz, message(sahnawaz, 3, 5))
    places["renewal of 6"] = bench.depart(zoe)
    bench.room.say("welcome back")
    places["renewal of 4 + 1"] = places["renewal of 4"] + 1
    # That she is back is announced behind the place that she asks for.
    places["end"] = bench.log.end
    places |= {"end + 1": bench.log.end + BACK_BYTES + 1, "nowhere": NOWHERE}
    if renewed is STARTS_OVER:
        started_over(bench, ira, places[where], epoch)
    else:
        received = bench.resume(ira, places[where], epoch)
        bench.events()
        assert received == [
            (places[where], Resumed()),
            *(
                (places[f"renewal of {number}"], Rekey(number, bench.secrets[number].secret))
                for number in renewed
            ),
            (bench.log.end, Resend(1)),
        ]
    assert bench.happened()[-1] == Back(ira.id)


def test_place_behind_the_window_starts_over_and_is_told_how_much_was_said() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.submit(ira, message(ira, 1, 2))
    place = bench.log.end
    bench.room.suspend(ira, bench.now)
    frames = [message(sahnawaz, seq, 2) for seq in range(1, 101)]
    for frame in frames:
        bench.submit(sahnawaz, frame)
    bench.log.window_bytes = 50 * len(frames[0])
    bench.log.trim(bench.log.start_after_trim())
    start = bench.log.start
    assert place < start
    assert started_over(bench, ira, place, 2).messages == 101
    assert started_over(bench, ira, start - 1, 2).messages == 101
    received = bench.resume(ira, start, 2)
    assert received is not None
    assert received[0] == (start, Resumed())


def test_renewal_is_forgotten_when_nobody_can_need_it() -> None:
    bench = Bench()
    ira, _, thea, zoe = bench.enter("Ira", "Sahnawaz", "Thea", "Zoë")
    place = bench.log.end
    bench.depart(thea)
    made_at = bench.now
    bench.now = made_at + limits.SILENCE_SECONDS
    bench.room.suspend(ira, bench.now)
    bench.now += limits.GRACE_SECONDS
    bench.tick()
    received = bench.resume(ira, place, 2)
    assert received is not None
    assert received[0] == (place, Resumed())
    bench.now += 0.001
    bench.depart(zoe)
    started_over(bench, ira, place, 2)
    # A member that has that key can still continue.
    received = bench.resume(ira, place, 3)
    assert received is not None
    assert [type(control) for _, control in received] == [Resumed, Rekey, Resend]


def test_start_over_first_announces_who_has_left() -> None:
    """Otherwise LEFT would name a member that is not in the new roster."""
    bench = Bench()
    ira, sahnawaz, thea, zoe = bench.enter("Ira", "Sahnawaz", "Thea", "Zoë")
    bench.room.leave(zoe, Reason.LEFT)
    bench.tick()
    bench.room.suspend(ira, bench.now)
    bench.room.leave(thea, Reason.KICKED)
    mei = bench.join("Mei")
    bench.delivered.clear()
    renewed_at = bench.now
    assert started_over(bench, ira, NOWHERE, 2).epoch == 4
    assert [unicast.member for unicast in bench.delivered] == [sahnawaz, ira, ira]
    (rekey,) = controls(bench.delivered[0])
    assert (rekey, bench.delivered[0].at) == (
        Rekey(4, bench.fresh.made[-1].secret),
        bench.log.end,
    )
    assert bench.happened()[-2:] == [Back(ira.id), Left(((thea.id, Reason.KICKED),))]
    # Nothing is left over for the tick but the newcomer; the next to leave waits as after any
    # renewal.
    bench.now += limits.JOIN_INTERVAL_SECONDS
    assert [unicast.member for unicast in bench.tick()] == [mei]
    bench.room.leave(mei, Reason.LEFT)
    assert bench.tick() == []
    assert bench.room.deadline == renewed_at + limits.LEAVE_INTERVAL_SECONDS


# -- who may not come back ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "token", "fingerprint"),
    [
        ("Ira", "wrong", FINGERPRINT),
        ("Ira", "zeros", FINGERPRINT),
        ("Ira", "Sahnawaz", FINGERPRINT),
        ("Ira", "Ira", FINGERPRINT[::-1]),
        ("Ira", "Ira", b""),
        ("Sahnawaz", "Ira", FINGERPRINT),
        ("the server", "Ira", FINGERPRINT),
        ("nobody", "Ira", FINGERPRINT),
        ("newcomer", "newcomer", FINGERPRINT),
        ("leaver", "leaver", FINGERPRINT),
        ("kicked while lost", "kicked while lost", FINGERPRINT),
    ],
)
def test_request_of_somebody_else_is_not_a_resume(
    member: str, token: str, fingerprint: bytes
) -> None:
    bench = Bench()
    ira, sahnawaz, leaver, kicked = bench.enter("Ira", "Sahnawaz", "Zoë", "Mei")
    bench.room.suspend(kicked, bench.now)
    bench.room.leave(kicked, Reason.KICKED)
    bench.depart(leaver)
    bench.room.suspend(ira, bench.now)
    newcomer = bench.join("Thea")
    members = {
        "Ira": ira,
        "Sahnawaz": sahnawaz,
        "newcomer": newcomer,
        "leaver": leaver,
        "kicked while lost": kicked,
    }
    ids = {name: known.id for name, known in members.items()} | {"the server": 0, "nobody": 99}
    tokens = {name: known.token for name, known in members.items()}
    tokens |= {"wrong": ira.token[:-1] + bytes((ira.token[-1] ^ 1,)), "zeros": bytes(16)}
    end, deadline = bench.log.end, bench.room.deadline
    request = Resume(ids[member], tokens[token], bench.log.end, bench.room.epoch)
    assert bench.ask(request, fingerprint) is None
    assert (bench.log.end, bench.room.deadline) == (end, deadline)
    # Each has a token of its own, which goes on being the right one.
    assert len({known.token for known in members.values()}) == len(members)
    for _ in range(2):
        assert bench.resume(ira, end, bench.room.epoch) is not None


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(-1, 40).map(lambda step: step * 25) | st.just(2**63) | st.just(NOWHERE),
    st.integers(0, 10) | st.just(2**32 - 1),
    st.booleans(),
)
def test_any_claim_is_served_in_order_and_without_a_key_from_before_the_welcome(
    offset: int, epoch: int, trimmed: bool
) -> None:
    bench = Bench()
    guests = bench.enter(*(f"guest {number}" for number in range(4)))
    bench.depart(guests[0])
    (ira,) = bench.enter("Ira")
    for guest in guests[1:3]:
        bench.submit(guests[3], message(guests[3], guests[3].seq + 1, bench.room.epoch))
        bench.depart(guest)
    bench.room.suspend(ira, bench.now)
    if trimmed:
        bench.log.window_bytes = bench.log.end // 2
        bench.log.trim(bench.log.start_after_trim())
    received = bench.resume(ira, max(offset, 0), epoch)
    assert received is not None
    first, last = received[0], received[-1]
    places = [at for at, _ in received]
    assert places == sorted(places)
    assert bench.log.start <= places[0] <= places[-1] == bench.log.end
    assert last[1] == Resend(1)
    keys = [control for _, control in received if isinstance(control, Welcome | Rekey)]
    assert all(control.epoch >= ira.epoch for control in keys)
    if isinstance(first[1], Resumed):
        assert first[0] == offset
        assert [control.epoch for control in keys] == list(range(max(epoch, ira.epoch) + 1, 7))
    else:
        assert [type(control) for _, control in received] == [Welcome, Roster, Resend]
        assert keys[0].epoch == bench.room.epoch


# -- messages ----------------------------------------------------------------------------------


Turn = tuple[str, str, int]
"""Acts, the messages that are appended then, and the number in the RESEND that follows, or 0.

An act is a `join`, a wait in seconds (`8s`), or a message (number, or number@epoch). All messages
of a turn are one run."""

LATE = f"{limits.EPOCH_GRACE_SECONDS + 0.001}s"
DIALOGUES: dict[str, list[Turn]] = {
    "a repeat is dropped silently": [
        ("1 1", "1", 0),
        ("1 2 1 2 3 1", "2 3", 0),
        ("2", "", 0),
        ("0", "", 0),
        (f"join {LATE} 1", "", 0),
    ],
    "a gap is asked for once": [
        ("1 3 4", "1", 2),
        ("5", "", 0),
        ("6 7", "", 0),
        ("2 3 4", "2 3 4", 0),
        # Another gap is another question.
        (f"{2**64 - 1}", "", 5),
        ("6", "", 0),
    ],
    "what lies around a dropped message is appended": [("1 1 2 8 3 2 4 4 5", "1 2 3 4 5", 0)],
    "an earlier epoch counts for the time of grace": [
        ("join 1@3 2@2 3@3", "1@3 2@2 3@3", 0),
        (f"{limits.EPOCH_GRACE_SECONDS}s 4@2", "4@2", 0),
    ],
    "a stale one is asked for again with all behind it": [
        (f"join {LATE} 1@2 2@3", "", 1),
        ("3@3", "", 0),
        ("1@3 2@3 3@3", "1@3 2@3 3@3", 0),
    ],
    # Otherwise the sender would wait for ever: it answers one question once.
    "what is stale again is asked for again": [
        (f"join {LATE} 1@2 2@2", "", 1),
        (f"join {LATE} 1@3 2@3", "", 1),
        ("1@4 2@4", "1@4 2@4", 0),
    ],
    # Epoch 2 ended 13 s ago, epoch 3 four.
    "each epoch has a grace of its own": [
        ("join 8s join 4s 1@2", "", 1),
        ("1@3 2@4", "1@3 2@4", 0),
    ],
}


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_messages_are_taken_in_order_and_byte_for_byte(dialogue: list[Turn]) -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    accepted = []
    for number, (acts, taken, resend) in enumerate(dialogue):
        run = []
        for place, act in enumerate(acts.split()):
            if act == "join":
                bench.enter(f"newcomer {number}.{place}")
            elif act.endswith("s"):
                bench.now += float(act.removesuffix("s"))
            else:
                seq, _, epoch = act.partition("@")
                content = bytes((number, place)) * 20
                run.append((act, message(ira, int(seq), int(epoch or 2), content)))
        first = dict(reversed(run))
        accepted += [first[each] for each in taken.split()]
        answer = [Resend(resend)] if resend else []
        assert bench.submit(ira, *(frame for _, frame in run)) == (len(taken.split()), answer)
    assert bench.frames(Message.TYPE) == accepted
    # The others have numbers of their own.
    assert bench.submit(sahnawaz, message(sahnawaz, 3, bench.room.epoch))[1] == [Resend(1)]


# -- breaches ----------------------------------------------------------------------------------

IRA, BREACH_EPOCH = 2, 3
UNKNOWN_KEY = "under a key that the member does not have"
BREACHES: list[tuple[str, bytes]] = [
    *(
        ("another member's name", Message(3, sender, 3, b"sealed").to_wire())
        for sender in (1, 0, 99, 2**32 - 1)
    ),
    *((UNKNOWN_KEY, Message(epoch, IRA, 3, b"sealed").to_wire()) for epoch in (0, 1, 2)),
    *((UNKNOWN_KEY, Message(epoch, IRA, 3, b"sealed").to_wire()) for epoch in (4, 5, 2**32 - 1)),
    *(("too short", block(bytes((Message.TYPE,)) + bytes(size))) for size in (0, 1, 15, 16)),
]


@pytest.mark.parametrize(("complaint", "offence"), BREACHES)
def test_breach_is_refused_and_what_comes_before_it_is_appended(
    complaint: str, offence: bytes
) -> None:
    bench = Bench()
    (sahnawaz,) = bench.enter("Sahnawaz")
    (ira,) = bench.enter("Ira")
    assert (ira.id, ira.epoch, bench.room.epoch) == (IRA, BREACH_EPOCH, BREACH_EPOCH)
    good = [message(ira, seq, BREACH_EPOCH) for seq in (1, 2, 3)]
    for run in ([good[0], good[0], good[1], offence, good[2]], [offence, good[2]]):
        with pytest.raises(ProtocolError, match=complaint):
            bench.submit(ira, *run)
        assert bench.frames(Message.TYPE) == good[:2]
    assert bench.submit(ira, good[2]) == (1, [])
    assert sahnawaz.seq == 0


def test_message_before_the_welcome_or_after_the_leave_is_a_breach() -> None:
    bench = Bench()
    bench.enter("Ira")
    thea = bench.join("Thea")
    with pytest.raises(ProtocolError, match="before the welcome"):
        bench.submit(thea, message(thea, 1, 2))
    bench.now += 1
    bench.tick()
    assert bench.submit(thea, message(thea, 1, 3)) == (1, [])
    bench.room.leave(thea, Reason.LEFT)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            bench.submit(thea, message(thea, 2, 3))
        bench.tick()


# -- the operator ------------------------------------------------------------------------------


def test_notice_and_closing_are_events_under_the_current_key() -> None:
    bench = Bench()
    bench.room.say("nobody hears this")
    (ira,) = bench.enter("Ira")
    bench.room.say("half an hour to go")
    bench.room.close()
    assert bench.events() == [
        (1, Notice("nobody hears this")),
        (1, Joined((entry(ira),))),
        (2, Notice("half an hour to go")),
        (2, Closing()),
    ]


# -- the model ---------------------------------------------------------------------------------
