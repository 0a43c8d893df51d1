"""The room at the server: members, epochs and their keys, and the entries of the log."""

import unicodedata
from functools import partial
from hashlib import sha256
from itertools import pairwise

import pytest

from chat import limits
from chat.cipher import sealed_bytes
from chat.controls import (
    Check,
    Control,
    Rekey,
    Resend,
    Resume,
    Resumed,
    Roster,
    Welcome,
    decode_control,
)
from chat.errors import LOSSES, ProtocolError, Reason, RefusedError
from chat.identities import Card, RosterEntry
from chat.kex import RoomSecret
from chat.presence import Presence
from chat.roomevents import Back, Joined, Left, Lost, RoomEvent, decode_room_event
from chat.server import epochs as epochs_module
from chat.server import members as members_module
from chat.server.log import OrderedLog
from chat.server.members import Member
from chat.server.room import Room, Unicast, bytes_again
from chat.text import fingerprint_of
from chat.wire import ROOM_HEADER_BYTES, Event, Message, room_headers
from tests.support.helpers import FixedBytes, frames_of, open_frame, steps

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
        self.hashes: dict[int, bytes] = {}
        self.delivered: list[Unicast] = []

    @property
    def deadline(self) -> float | None:
        """That of the room, but for the members that are to be told the running hash."""
        return self.room.due_at

    def tick(self) -> list[Unicast]:
        """What is delivered then, but for the running hash."""
        unicasts = self.room.tick(self.now)
        self.delivered += [*unicasts, *self.room.tell_hash(self.now)]
        return unicasts

    def join(self, name: str, key: str = "", *, caller: bool = False) -> Member:
        """Let somebody in, each a minute after the one before, and with a key of its own unless one
        is named."""
        fingerprint = sha256((key or str(self.joins)).encode()).digest()
        joined_at = JOINED_AT + 60 * self.joins
        member = self.room.join(name, fingerprint, joined_at, Card(caller=caller))
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

    def resume(self, member: Member, offset: int, epoch: int) -> list[tuple[int, Control]] | None:
        """Let a member come back; what it is sent, each with its place. None if it may not."""
        request = Resume(member.id, member.token, offset, epoch)
        resumed = self.room.resume(request, member.fingerprint, self.now)
        if resumed is None:
            return None
        resumed_as, unicasts = resumed
        assert resumed_as is member
        self.delivered += unicasts
        told = [
            (unicast.at, control)
            for unicast in unicasts
            if unicast.member is member
            for control in controls(unicast)
        ]
        return [one for one in told if not isinstance(one[1], Check)]

    def submit(self, member: Member, *frames: bytes) -> tuple[int, list[Control]]:
        """Submit one run; what the member is answered, all of it at the end of the log."""
        before = self.room.messages
        unicasts = self.room.submit(member, b"".join(frames), self.now)
        count = self.room.messages - before
        for unicast in unicasts:
            assert (unicast.member, unicast.at) == (member, self.log.end)
        return count, [control for unicast in unicasts for control in controls(unicast)]

    def delivered_to(self, member: Member) -> list[Control]:
        """What was for this member alone."""
        mine = (unicast for unicast in self.delivered if unicast.member is member)
        return [control for unicast in mine for control in controls(unicast)]

    def frames(self, wanted: int) -> list[bytes]:
        """The frames of this type in the log."""
        whole = frames_of(self.log.read(0, self.log.end))
        return [frame for frame_type, frame in whole if frame_type == wanted]

    def events(self) -> list[tuple[int, RoomEvent]]:
        """The events in the log, each with the epoch under which it is sealed. They are numbered
        without a gap, and an epoch's last is the one that ends it. What was delivered agrees, and
        so do the running hashes, which are computed by hand."""
        found: list[tuple[int, RoomEvent]] = []
        fresh = iter(self.fresh.made)
        epoch, offset, begun = 1, 0, b""
        base = sha256(b"chat/1 room log" + self.room.id).digest()
        begins = {epoch: (offset, base)}
        self.secrets = {epoch: next(fresh)}
        self.hashes = {offset: base}
        for frame_type, data in frames_of(self.log.read(0, self.log.end)):
            offset, begun = offset + len(data), begun + data
            self.hashes[offset] = sha256(base + sha256(begun).digest()).digest()
            if frame_type != Event.TYPE:
                continue
            (header,) = room_headers(Event.TYPE, data)
            assert (header.epoch, header.sender, header.seq) == (epoch, 0, len(found) + 1)
            secret = self.secrets[epoch]
            event = decode_room_event(open_frame(secret.event_key(), data))
            found.append((epoch, event))
            if isinstance(event, Joined | Left):
                epoch, base, begun = epoch + 1, self.hashes[offset], b""
                begins[epoch] = (offset, base)
                self.secrets[epoch] = secret.step() if isinstance(event, Joined) else next(fresh)
        assert epoch == self.room.epoch
        for control in (control for unicast in self.delivered for control in controls(unicast)):
            if isinstance(control, Welcome | Rekey):
                assert control.secret == self.secrets[control.epoch].secret
            if isinstance(control, Welcome):
                assert (control.offset, control.base) == begins[control.epoch]
            if isinstance(control, Check):
                assert control.digest == self.hashes[control.offset]
        return found

    def happened(self) -> list[RoomEvent]:
        return [event for _, event in self.events()]


def controls(unicast: Unicast) -> list[Control]:
    return [decode_control(control) for control in unicast.controls]


def told(unicast: Unicast) -> bool:
    """Whether it is the running hash that the member is told."""
    return isinstance(decode_control(unicast.controls[0]), Check)


def entry(member: Member, seq: int = 0, *, lost: bool = False) -> RosterEntry:
    """What everybody is told of a member, since when it is in in whole seconds."""
    since = SINCE + 60 * (member.id - 1)
    return RosterEntry(member.id, seq, member.name, member.fingerprint, since, lost=lost)


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
    place = (bench.room.id, ira.id, ira.token, 2, 1, stepped, bench.log.end)
    assert welcome == Welcome(*place, bench.hashes[bench.log.end], 0, 1, 1)
    assert roster == Roster((entry(ira),))


def test_storm_of_joins_is_spread_over_steps_that_fit_into_frames() -> None:
    bench = Bench()
    numbers = range(limits.JOINS_PER_STEP + 1)
    members = [bench.join(chr(0x20000 + number) * limits.MAX_NAME_CHARS) for number in numbers]
    assert len(bench.tick()) == limits.JOINS_PER_STEP
    assert bench.deadline == bench.now + limits.JOIN_INTERVAL_SECONDS
    bench.now += limits.JOIN_INTERVAL_SECONDS
    (last,) = bench.tick()
    assert bench.deadline is None
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
        due = bench.deadline
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
        assert bench.deadline == (None if deadline is None else start + deadline)


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
    ("taken", "wanted"),
    [("Ira", "Ira"), ("Straße", "STRASSE"), ("ZOË", "Zoe\u0308"), ("ﬁ", "FI"), ("Ira", "Ir\u0430")],
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
            assert bench.room.find(second) == (member,)
            # Announced or not, it is taken.
            bench.tick()
    bench.enter("Írä")


@pytest.mark.parametrize(
    "name", ["", " Ira", "a:b", "x" * (limits.MAX_NAME_CHARS + 1), "\x1b[m", "r00t"]
)
def test_name_that_cannot_be_used_is_refused(name: str) -> None:
    bench = Bench()
    with pytest.raises(RefusedError) as refusal:
        bench.join(name)
    assert refusal.value.reason is Reason.NAME_INVALID
    assert str(refusal.value).isprintable()
    assert bench.deadline is None


def test_full_room_refuses_until_somebody_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "MAX_MEMBERS", 2)
    bench = Bench()
    (ira,) = bench.enter("Ira")
    bench.join("Sahnawaz")
    with pytest.raises(RefusedError) as refusal:
        bench.join("Thea")
    assert refusal.value.reason is Reason.FULL
    with pytest.raises(RefusedError, match="is taken"):
        bench.join("ira")
    # Until the others are told, she counts: a roster may have to name her.
    bench.room.leave(ira, Reason.LEFT)
    with pytest.raises(RefusedError):
        bench.join("Thea")
    bench.tick()
    bench.join("Thea")


# -- losing the connection ---------------------------------------------------------------------


def test_lost_member_keeps_its_place_and_is_announced_once() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.room.suspend(ira, bench.now)
    bench.room.suspend(ira, bench.now + 1)
    assert bench.room.members == {ira.id: ira, sahnawaz.id: sahnawaz}
    assert bench.room.find("ira") == (ira,)
    assert bench.deadline == bench.now + limits.GRACE_SECONDS
    assert bench.tick() == []
    assert bench.events()[1:] == [(2, Lost(ira.id))]
    # A newcomer's roster has it, too.
    (thea,) = bench.enter("Thea")
    roster = bench.delivered_to(thea)[1]
    assert isinstance(roster, Roster)
    assert entry(ira, lost=True) in roster.entries


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
    assert bench.deadline is None
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
    bench.room.leave(sahnawaz, Reason.LEFT)
    bench.tick()
    assert bench.deadline == start + 20 + limits.GRACE_SECONDS
    assert bench.room.end_grace(start + 20 + limits.GRACE_SECONDS) == [thea]
    assert bench.room.end_grace(start + 30 + limits.GRACE_SECONDS) == [ira]
    # Whose grace has ended by the next tick leave together.
    bench.now = start + 30 + limits.GRACE_SECONDS
    assert bench.tick() == []
    assert bench.happened()[-1] == Left(((thea.id, Reason.LOST), (ira.id, Reason.LOST)))


def test_when_too_many_of_one_source_are_lost_the_first_of_them_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chat.server.members.MAX_LOST_OF_SOURCE", 2)
    bench = Bench()
    ira, *ghosts = bench.enter("Ira", "one", "two", "three", "four")
    ira.source = "elsewhere"
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
    assert bench.room.find("two") == ()
    assert bench.room.find("Ira") == (ira,)
    bench.now += limits.GRACE_SECONDS
    assert bench.room.end_grace(bench.now) == [ira, ghosts[2], ghosts[3]]
    assert not bench.room.anybody_lost


# -- a person may be here several times --------------------------------------------------------


def test_same_key_is_another_member_of_the_same_person() -> None:
    bench = Bench()
    laptop, phone = bench.join("Ira", "hers"), bench.join("ira", "hers")
    assert bench.room.find("IRA") == (laptop, phone)
    assert (laptop.id, laptop.token) != (phone.id, phone.token)
    # Be they announced or not, and whichever of them goes: another key gets the name of neither.
    for going in (None, laptop, phone):
        if going is not None:
            bench.room.leave(going, Reason.LEFT)
        if going is not phone:
            with pytest.raises(RefusedError, match="is taken"):
                bench.join("Ira", "another")
        bench.tick()
    bench.join("Ira", "another")


@pytest.mark.parametrize("caller", [False, True])
def test_key_is_in_at_most_so_often_and_the_oldest_ghost_makes_room(caller: bool) -> None:
    """Whatever its names. Those that stay and those that call do not count for each other."""
    limit = limits.MAX_CALLERS_OF_KEY if caller else limits.MAX_CONNECTIONS_OF_KEY
    bench = Bench()
    bench.join("Ira", "hers", caller=not caller)
    names = ("Ira", "Ira's bot")
    members = [bench.join(names[n % 2], "hers", caller=caller) for n in range(limit)]
    bench.now += 1
    bench.tick()
    with pytest.raises(RefusedError) as refusal:
        bench.join("Ira", "hers", caller=caller)
    if caller:
        assert refusal.value.reason in LOSSES
    else:
        assert refusal.value.reason is Reason.FULL
        assert str(refusal.value) == f"you are here {limit} times already"
    for lost in (members[3], members[1], members[2]):
        bench.room.suspend(lost, bench.now)
        bench.now += 1
    for ghost in (members[3], members[1]):
        bench.join("Ira", "hers", caller=caller)
        assert bench.room.end_grace(bench.now) == [ghost]
        assert ghost.id not in bench.room.members
    # One that is back is a ghost no more.
    assert bench.resume(members[2], bench.log.end, bench.room.epoch) is not None
    with pytest.raises(RefusedError):
        bench.join("Ira", "hers", caller=caller)
    bench.room.leave(members[0], Reason.LEFT)
    bench.join("Ira", "hers", caller=caller)
    # Another key is no part of this.
    bench.join("Thea", caller=caller)


def test_full_room_has_no_place_even_where_a_ghost_could_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until its leaving is told it counts, so it would be put out for nothing."""
    monkeypatch.setattr(members_module, "MAX_MEMBERS", 2)
    monkeypatch.setattr(members_module, "MAX_CONNECTIONS_OF_KEY", 1)
    bench = Bench()
    ira = bench.join("Ira", "hers")
    bench.enter("Thea")
    bench.room.suspend(ira, bench.now)
    with pytest.raises(RefusedError):
        bench.join("Ira", "hers")
    assert bench.room.find("Ira") == (ira,)


def test_who_is_lost_and_leaves_is_lost_in_a_roster_until_the_others_are_told() -> None:
    bench = Bench()
    ira, thea = bench.enter("Ira", "Thea")
    bench.room.suspend(ira, bench.now)
    bench.room.suspend(thea, bench.now)
    bench.room.leave(ira, Reason.LOST)
    resumed = bench.resume(thea, NOWHERE, 2)
    assert resumed is not None
    (roster,) = (control for _, control in resumed if isinstance(control, Roster))
    assert {one.id: one.lost for one in roster.entries} == {ira.id: True, thea.id: False}


def test_person_is_here_as_its_connections_that_stay_are() -> None:
    bench = Bench()
    assert bench.room.presence("Ira") is Presence.GONE
    calling = bench.join("Ira", "hers", caller=True)
    assert bench.room.presence("Ira") is Presence.GONE
    laptop, phone = bench.join("Ira", "hers"), bench.join("Ira", "hers")
    bench.enter("Thea")
    bench.room.suspend(laptop, bench.now)
    assert bench.room.presence("Ira") is Presence.HERE
    bench.room.leave(phone, Reason.LEFT)
    assert bench.room.presence("Ira") is Presence.LOST
    bench.resume(laptop, NOWHERE, 2)
    assert bench.room.presence("Ira") is Presence.HERE
    bench.room.leave(laptop, Reason.LEFT)
    assert bench.room.presence("Ira") is Presence.GONE
    assert bench.room.find("Ira") == (calling,)


def test_members_of_a_key_are_found_without_looking_at_all_others() -> None:
    """A server that is told of many bans looks for each of them."""
    bench = Bench()
    ira = bench.join("Ira", "hers")
    bench.enter("Thea")
    again = bench.join("Ira", "hers")
    find = partial(bench.room.of_key, fingerprint_of(ira.fingerprint))
    cost = steps(find)
    bench.enter(*(f"member {number}" for number in range(40)))
    assert find() == [ira, again]
    assert steps(find) == cost
    assert bench.room.of_key(fingerprint_of(bytes(limits.FINGERPRINT_BYTES))) == []


def test_many_who_are_lost_cost_nothing_while_nobodys_grace_ends() -> None:
    bench = Bench()
    members = bench.enter(*(f"member {number}" for number in range(40)))
    costs = []
    for member in members[:-1]:
        bench.room.suspend(member, bench.now)
        costs.append(steps(lambda: (bench.room.end_grace(bench.now), bench.room.deadline)))
    assert costs == [costs[0]] * (len(members) - 1)


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
        request = Resume(ira.id, ira.token, offset, 2)
        resumed = bench.room.resume(request, ira.fingerprint, bench.now)
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
    # Something was said, so the secret will be renewed, and that is all.
    assert bench.deadline == bench.now + limits.RENEWAL_SECONDS
    # The question has been asked; a message of before the cut is not asked for again.
    assert bench.submit(ira, message(ira, 4, 2)) == (0, [])
    assert bench.submit(ira, message(ira, 2, 2), message(ira, 3, 2)) == (1, [])
    assert bench.submit(ira, message(ira, 5, 2)) == (0, [Resend(4)])


def test_member_is_told_the_hash_of_the_place_where_it_goes_on() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    bench.submit(sahnawaz, message(sahnawaz, 1, 2), message(sahnawaz, 2, 2))
    place, check = bench.log.end, bench.room.check()
    bench.submit(sahnawaz, message(sahnawaz, 3, 2))
    (thea,) = bench.enter("Thea")
    bench.depart(thea)
    beginning, at_beginning = bench.log.end, bench.room.check()
    bench.submit(sahnawaz, message(sahnawaz, 4, bench.room.epoch))

    def first(offset: int, epoch: int) -> tuple[bytes, ...]:
        request = Resume(ira.id, ira.token, offset, epoch)
        resumed = bench.room.resume(request, ira.fingerprint, bench.now)
        assert resumed is not None
        return resumed[1][0].controls

    assert first(place, 2) == (Resumed().encode(), check)
    assert first(beginning, bench.room.epoch) == (Resumed().encode(), at_beginning)
    end, at_end = bench.log.end, bench.room.check()
    assert first(end, bench.room.epoch) == (Resumed().encode(), at_end)


@pytest.mark.parametrize("too_far", [False, True])
def test_hash_is_told_if_not_much_has_to_be_hashed_again(too_far: bool) -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    begins_at = bench.log.end
    size = limits.MAX_HASHED_AGAIN // 16 - len(message(sahnawaz, 1, 2, b""))
    for seq in range(1, 17):
        bench.submit(sahnawaz, message(sahnawaz, seq, 2, bytes(size + too_far)))
    assert (bench.log.end - begins_at > limits.MAX_HASHED_AGAIN) is too_far
    request = Resume(ira.id, ira.token, bench.log.end, 2)
    resumed = bench.room.resume(request, ira.fingerprint, bench.now)
    assert resumed is not None
    assert resumed[1][0].controls[1:] == (() if too_far else (bench.room.check(),))


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
    assert bench.happened()[1:] == [Lost(ira.id), Back(ira.id), Left(((thea.id, Reason.LEFT),))]


# -- coming back too late ----------------------------------------------------------------------


def started_over(
    bench: Bench, member: Member, offset: int, epoch: int, *leaving: Member
) -> Welcome:
    """Resume. The answer is a welcome, the roster and RESEND at the end of the log, where an epoch
    begins, with no key but the current one. The roster names those, too, of whose leave nobody has
    been told."""
    received = bench.resume(member, offset, epoch)
    assert received is not None
    assert {at for at, _ in received} == {bench.log.end}
    (_, welcome), (_, roster), (_, resend) = received
    assert isinstance(welcome, Welcome)
    assert (welcome.room, welcome.member) == (bench.room.id, member.id)
    assert (welcome.token, welcome.epoch) == (member.token, bench.room.epoch)
    assert (welcome.offset, welcome.messages) == (bench.log.end, bench.room.messages)
    everybody = [*bench.room.members.values(), *leaving]
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
    ("step to 5", 3, STARTS_OVER),
    ("step to 5", 4, [6]),
    ("end", 5, STARTS_OVER),
    # Between two messages that were appended together, and in the middle of one.
    ("in a run", 3, [4, 6]),
    ("in a frame", 3, STARTS_OVER),
    ("end - 1", 6, STARTS_OVER),
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
    run = [message(sahnawaz, 2, 3), message(sahnawaz, 3, 3)]
    places["in a run"] = bench.log.end + len(run[0])
    places["in a frame"] = places["in a run"] + 2
    bench.submit(sahnawaz, *run)
    places["renewal of 4"] = bench.depart(thea)
    bench.enter("Mei")
    places["step to 5"] = bench.log.end
    bench.submit(sahnawaz, message(sahnawaz, 4, 5))
    places["renewal of 6"] = bench.depart(zoe)
    bench.room.say("welcome back")
    # That she is back is announced behind the place that she asks for.
    places["end"] = bench.log.end
    places |= {"end - 1": bench.log.end - 1, "end + 1": bench.log.end + BACK_BYTES + 1}
    places["nowhere"] = NOWHERE
    if renewed is STARTS_OVER:
        started_over(bench, ira, places[where], epoch)
        # The second welcome stands where the first one does, and needs no step.
        end = bench.log.end
        assert started_over(bench, ira, NOWHERE, epoch).offset == end
        assert bench.happened()[-2:] == [Back(ira.id), Joined(())]
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


def test_member_that_was_not_given_its_new_welcome_is_still_where_it_was() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    place = bench.log.end
    bench.submit(sahnawaz, message(sahnawaz, 1, 2))
    started_over(bench, ira, NOWHERE, 2)
    received = bench.resume(ira, place, 2)
    assert received == [(place, Resumed()), (bench.log.end, Resend(1))]
    bench.submit(ira, message(ira, 1, 2))
    assert ira.seq == 1


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
    received = bench.resume(ira, start, 2)
    assert received is not None
    assert received[0] == (start, Resumed())
    assert started_over(bench, ira, start - 1, 2).messages == 101
    assert started_over(bench, ira, place, 2).messages == 101


def test_who_has_missed_too_many_new_keys_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be given all of them at once, and be cut off for that."""
    monkeypatch.setattr(epochs_module, "MAX_RENEWALS", 3)
    bench = Bench()
    ira, *leavers = bench.enter("Ira", *(f"member {number}" for number in range(5)))
    bench.room.suspend(ira, bench.now)
    place, epoch = bench.log.end, bench.room.epoch
    for leaver in leavers[:3]:
        bench.depart(leaver)
    received = bench.resume(ira, place, epoch)
    assert received is not None
    assert [type(control) for _, control in received] == [Resumed, Rekey, Rekey, Rekey, Resend]
    bench.room.suspend(ira, bench.now)
    bench.depart(leavers[3])
    bench.depart(leavers[4])
    assert started_over(bench, ira, place, epoch).epoch == bench.room.epoch


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
    # A member that has that key can still continue.
    received = bench.resume(ira, place, 3)
    assert received is not None
    assert [type(control) for _, control in received] == [Resumed, Rekey, Resend]
    started_over(bench, ira, place, 2)


def test_start_over_while_a_departure_waits_names_who_has_left_too() -> None:
    """Otherwise LEFT would name a member that is not in the new roster. A newcomer, who is not in
    either, is announced when it is its turn."""
    bench = Bench()
    ira, sahnawaz, thea, zoe = bench.enter("Ira", "Sahnawaz", "Thea", "Zoë")
    bench.room.leave(zoe, Reason.LEFT)
    bench.tick()
    bench.room.suspend(ira, bench.now)
    bench.room.leave(thea, Reason.KICKED)
    mei = bench.join("Mei")
    assert started_over(bench, ira, NOWHERE, 2, thea).epoch == 4
    assert bench.deadline == bench.now + limits.LEAVE_INTERVAL_SECONDS
    bench.now += limits.LEAVE_INTERVAL_SECONDS
    assert [unicast.member for unicast in bench.tick()] == [ira, sahnawaz, mei]
    left = Left(((thea.id, Reason.KICKED),))
    assert bench.happened()[-4:] == [Back(ira.id), Joined(()), left, Joined((entry(mei),))]


# -- who may not come back ---------------------------------------------------------------------


def test_newcomer_and_who_has_left_cannot_resume() -> None:
    """Who else may not, is in the vectors. Each has a token of its own, which stays the right
    one."""
    bench = Bench()
    ira, leaver, kicked = bench.enter("Ira", "Zoë", "Mei")
    bench.room.suspend(kicked, bench.now)
    bench.room.leave(kicked, Reason.KICKED)
    bench.depart(leaver)
    bench.room.suspend(ira, bench.now)
    newcomer = bench.join("Thea")
    end, deadline = bench.log.end, bench.deadline
    for member in (newcomer, leaver, kicked):
        assert bench.resume(member, end, bench.room.epoch) is None
    assert (bench.log.end, bench.deadline) == (end, deadline)
    assert len({member.token for member in (ira, leaver, kicked, newcomer)}) == 4
    for _ in range(2):
        assert bench.resume(ira, end, bench.room.epoch) is not None


# -- messages ----------------------------------------------------------------------------------


Turn = tuple[str, str, int]
"""Acts, the messages that are appended then, and the number in the RESEND that follows, or 0.

An act is a `join`, a `leave`, a wait in seconds (`8s`), or a message (number, or number@epoch). All
messages of a turn are one run."""

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
    "what was sealed before somebody left is said again under the new secret": [
        ("1 leave 2@2 3@2", "", 1),
        ("4@2", "", 0),
        ("1@3 2@3 3@3 4@3", "1@3 2@3 3@3 4@3", 0),
    ],
    "a step before or behind a leave saves nothing": [
        ("join leave join 1@2 2@5", "", 1),
        ("1@3", "", 1),
        # Epoch 4 was ended by a step, which shuts nobody out.
        ("1@4 2@5", "1@4 2@5", 0),
    ],
    "a repeat from before a leave is dropped silently": [("1", "1", 0), ("leave 1@2", "", 0)],
}


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_messages_are_taken_in_order_and_byte_for_byte(dialogue: list[Turn]) -> None:
    bench = Bench()
    ira, sahnawaz, thea, *_ = bench.enter("Ira", "Sahnawaz", "Thea")
    accepted = []
    for number, (acts, taken, resend) in enumerate(dialogue):
        run = []
        for place, act in enumerate(acts.split()):
            if act == "join":
                bench.enter(f"newcomer {number}.{place}")
            elif act == "leave":
                bench.depart(thea)
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


def test_message_is_not_accepted_under_an_epoch_too_many_steps_ago() -> None:
    """Welcomes may step much faster than joins, and a reader keeps only so many keys."""
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    for _ in range(limits.MAX_PAST_EPOCHS + 1):
        bench.room.say("something")
        started_over(bench, sahnawaz, NOWHERE, 2)
    assert bench.submit(ira, message(ira, 1, 2)) == (0, [Resend(1)])
    assert bench.submit(ira, message(ira, 1, 3)) == (1, [])


# -- the renewal of the secret -----------------------------------------------------------------

WAITS: dict[str, tuple[str, bool]] = {
    "for what was refused": ("1@2", True),
    "not for what was accepted": ("1@3", False),
    "not when it was said again": ("1@2 1@3", False),
    "while it is refused again": ("1@2 1@2", True),
    "while only others are heard": ("1@2 other", True),
    "not for what was out of turn": ("2@2", False),
    "not for a member that is lost": ("1@2 lost", False),
    "not for a member that has left": ("1@2 left", False),
}


@pytest.mark.parametrize(("acts", "waits"), WAITS.values(), ids=WAITS)
def test_renewal_waits_for_those_whom_the_last_one_refused(acts: str, waits: bool) -> None:
    bench = Bench()
    ira, sahnawaz, *guests = bench.enter("Ira", "Sahnawaz", "Thea", "Zoë")
    bench.depart(guests[0])
    renewed_at = bench.now
    for act in acts.split():
        match act:
            case "other":
                bench.submit(sahnawaz, message(sahnawaz, 1, 3))
            case "lost":
                bench.room.suspend(ira, bench.now)
            case "left":
                bench.room.leave(ira, Reason.LEFT)
            case _:
                seq, _, epoch = act.partition("@")
                bench.submit(ira, message(ira, int(seq), int(epoch)))
    bench.room.leave(guests[1], Reason.LEFT)
    seconds = limits.RENEWAL_WAIT_SECONDS if waits else limits.LEAVE_INTERVAL_SECONDS
    assert bench.deadline == renewed_at + seconds
    bench.now = renewed_at + seconds * 0.99
    assert bench.tick() == []
    bench.now = renewed_at + seconds
    assert bench.tick() != []
    # Whom this one has not refused, the next one does not wait for.
    bench.room.leave(sahnawaz, Reason.LEFT)
    assert bench.deadline == bench.now + limits.LEAVE_INTERVAL_SECONDS


def test_nobody_far_away_starves_while_others_leave() -> None:
    """Somebody leaves every 0.2 s, and it takes 0.25 s from the server to Ira, or back."""
    bench = Bench()
    ira, *guests = bench.enter("Ira", *(f"guest {number}" for number in range(100)))
    way, said, epochs = 5, 0, [2] * 5
    to_server: dict[int, list[bytes]] = {}
    to_ira: dict[int, int] = {}
    accepted_at = [0]
    for moment in range(400):
        known = epochs[moment]
        first = to_ira.pop(moment, said + 1)
        said += moment % 2
        arriving = to_server.setdefault(moment + way, [])
        arriving += [message(ira, seq, known) for seq in range(first, said + 1)]
        if moment % 4 == 0:
            bench.room.leave(guests.pop(), Reason.LEFT)
        count, answers = bench.submit(ira, *to_server.pop(moment, []))
        for answer in answers:
            assert isinstance(answer, Resend)
            to_ira[moment + way] = answer.seq
        accepted_at += [moment] * bool(count)
        bench.now += 0.05
        bench.tick()
        epochs.append(bench.room.epoch)
    # Two ways, and what a renewal adds: a second at most.
    assert max(later - at for at, later in pairwise(accepted_at)) <= 20
    assert said - ira.seq <= 20
    left = [event for event in bench.happened() if isinstance(event, Left)]
    assert len(left) > 20
    assert sum(len(event.departures) for event in left) >= 95


OLD = limits.RENEWAL_SECONDS
AGEING: dict[str, list[tuple[float, str, float | None, bool]]] = {
    "since the first join, if something was said": [
        (0, "join", None, False),
        (5, "message", OLD, False),
        (OLD - 1, "message", OLD, False),
        (OLD, "", None, True),
        (3 * OLD, "", None, False),
    ],
    "the operator's words and those who come do not count": [
        (0, "join", None, False),
        (1, "notice join", None, False),
        (2 * OLD, "", None, False),
    ],
    "since the last renewal": [
        (0, "join join", None, False),
        (5, "message", OLD, False),
        (100, "leave", None, True),
        (101, "message", 100 + OLD, False),
        (100 + OLD, "", None, True),
    ],
    "at once, if it was old when the first word was said": [
        (0, "join", None, False),
        (2 * OLD, "message", None, True),
        (2 * OLD + 1, "message", 3 * OLD, False),
    ],
    "since somebody came into an empty room": [
        (0, "join", None, False),
        (100, "leave", None, True),
        (900, "join", None, False),
        (901, "message", 900 + OLD, False),
    ],
}


@pytest.mark.parametrize("moments", AGEING.values(), ids=AGEING)
def test_secret_is_renewed_when_it_is_old_and_something_was_said(
    moments: list[tuple[float, str, float | None, bool]],
) -> None:
    bench, here = Bench(), list[Member]()
    start = bench.now
    for seconds, acts, deadline, renewed in moments:
        bench.now = start + seconds
        for act in acts.split():
            match act:
                case "join":
                    here.append(bench.join(f"member {bench.joins}"))
                case "leave":
                    bench.room.leave(here.pop(), Reason.LEFT)
                case "notice":
                    bench.room.say("hello")
                case "message":
                    count, _ = bench.submit(
                        here[0], message(here[0], here[0].seq + 1, bench.room.epoch)
                    )
                    assert count == 1
        before = len(bench.fresh.made)
        unicasts = bench.tick()
        assert len(bench.fresh.made) - before == renewed
        rekeyed = [each.member for each in unicasts if isinstance(controls(each)[0], Rekey)]
        assert rekeyed == (here if renewed else [])
        if renewed and "leave" not in acts:
            assert bench.happened()[-1] == Left(())
        assert bench.deadline == (None if deadline is None else start + deadline)


# -- the running hash --------------------------------------------------------------------------


def test_members_with_a_connection_are_told_the_running_hash_of_all_that_was_written() -> None:
    """That the hashes are right over all epochs, `events` has checked. Who is told when, is in
    `test_checks.py`."""
    bench = Bench()
    ira, _, thea = bench.enter("Ira", "Sahnawaz", "Thea")
    bench.room.suspend(thea, bench.now)
    for epoch in (2, 3, 4):
        bench.submit(ira, message(ira, ira.seq + 1, epoch), message(ira, ira.seq + 2, epoch))
        bench.now += limits.CHECK_SECONDS
        assert bench.room.deadline is not None
        assert bench.room.deadline <= bench.now
        assert bench.room.tick(bench.now) == []
        unicasts = bench.room.tell_hash(bench.now)
        bench.delivered += unicasts
        connected = set(bench.room.members.values()) - {thea}
        assert {unicast.member for unicast in unicasts} == connected
        assert len(unicasts) == len(connected)
        checks = [control for unicast in unicasts for control in controls(unicast)]
        assert {check for check in checks if isinstance(check, Check)} == set(checks)
        assert {unicast.at for unicast in unicasts} == {bench.log.end}
        assert decode_control(bench.room.check()) in checks
        bench.enter(f"newcomer {epoch}")
    bench.happened()
    assert not any(isinstance(control, Check) for control in bench.delivered_to(thea))


def test_member_that_takes_its_place_over_in_a_quiet_room_is_told_the_running_hash() -> None:
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    place = bench.log.end
    bench.submit(sahnawaz, message(sahnawaz, 1, 2))
    bench.now += limits.CHECK_SECONDS
    bench.tick()
    assert bench.resume(ira, place, 2) is not None
    bench.delivered.clear()
    assert bench.room.deadline is not None
    bench.now = bench.room.deadline
    bench.tick()
    assert [unicast.member for unicast in bench.delivered] == [ira]
    bench.happened()


# -- breaches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [2, 3])
def test_what_comes_before_a_breach_is_appended(seq: int) -> None:
    """What is a breach, is in the vectors."""
    bench = Bench()
    ira, sahnawaz = bench.enter("Ira", "Sahnawaz")
    good = [message(ira, number, 2) for number in (1, 2, 3)]
    offence = message(sahnawaz, seq, 2)
    for run in ([good[0], good[0], good[1], offence, good[2]], [offence, good[2]]):
        with pytest.raises(ProtocolError, match="another member's name"):
            bench.submit(ira, *run)
        assert bench.frames(Message.TYPE) == good[:2]
    assert bench.submit(ira, good[2]) == (1, [])
    assert sahnawaz.seq == 0


def test_message_after_the_leave_is_a_breach() -> None:
    bench = Bench()
    _, thea = bench.enter("Ira", "Thea")
    bench.room.leave(thea, Reason.LEFT)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            bench.submit(thea, message(thea, 1, 2))
        bench.tick()
