"""Some hundred simulated rooms, and the simulator itself: what it stands on, and that it finds what
is broken on purpose."""

import selectors
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import pytest

from chat import kex
from chat.client.events import ClientEvent, MessageReceived, Reconnected
from chat.client.membership import Membership
from chat.client.outbox import Outbox, SeenMessages
from chat.client.participant import Participant, Phase
from chat.client.peers import Peer
from chat.errors import OpenError, ProtocolError, Reason
from chat.kex import RoomSecret, SignedShare
from chat.messages import MessageContent
from chat.server.log import Cursor, OrderedLog, Sealed
from chat.server.room import Member, Room, Unicast
from tests import simulation
from tests.simulation import (
    WEIGHTS,
    Action,
    Conditions,
    Simulation,
    check_seed,
    conditions_of,
    patched,
    report,
    schedule_of,
    simulate,
    violation_of,
)
from tests.support.cheap_keys import cheap_key, derive, fingerprint_of, patch_keys
from tests.support.helpers import FixedBytes
from tests.support.simulated import (
    START,
    Input,
    Output,
    Process,
    Socket,
    Stream,
    ViolationError,
    World,
)
from tests.support.simulated_record import Continued

pytestmark = pytest.mark.slow

SEEDS = 200
SEEDS_A_TEST = 20
SEEDS_LOOKED_INTO = 40
"""So many are run by the test that looks into them, too."""

SEEDS_TO_FIND = 40
"""Within so many seeds whatever is broken on purpose must be found."""

QUIET = Conditions(people=2, terminals=0b11, latency=0.001, shred=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SEEDS_LOOKED_INTO + 1, SEEDS + 1, SEEDS_A_TEST))
def test_laws_hold_whatever_happens(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        check_seed(seed)


# -- what is broken on purpose is found --------------------------------------------------------

Break = Callable[[pytest.MonkeyPatch], None]


def skip_an_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    real = Participant._acknowledge

    def acknowledge(self: Participant, seq: int, content: MessageContent) -> None:
        if seq % 10:
            real(self, seq, content)

    patch.setattr(Participant, "_acknowledge", acknowledge)


def be_off_by_one_in_the_cursor(patch: pytest.MonkeyPatch) -> None:
    real = Cursor.advance

    def advance(self: Cursor, size: int) -> None:
        off = bool(not self.unsent and self.offset + size < self._log.end)
        real(self, size + off)

    patch.setattr(Cursor, "advance", advance)


def resend_with_a_new_number(patch: pytest.MonkeyPatch) -> None:
    real = Outbox.renumber

    def renumber(self: Outbox, *, replay: bool) -> None:
        real(self, replay=replay)
        for place, content in enumerate(self.messages):
            self._number += 1
            self.messages[place] = replace(content, number=self._number)

    patch.setattr(Outbox, "renumber", renumber)


def forget_a_splice(patch: pytest.MonkeyPatch) -> None:
    real = Cursor.splice

    def splice(self: Cursor, sealed: Sealed, at: int) -> None:
        if not self.splices:
            real(self, sealed, at)

    patch.setattr(Cursor, "splice", splice)


def trim_too_early(patch: pytest.MonkeyPatch) -> None:
    real = OrderedLog.start_after_trim

    def start_after_trim(self: OrderedLog) -> int:
        start = real(self)
        return next((boundary for boundary in self._boundaries if boundary > start), start)

    patch.setattr(OrderedLog, "start_after_trim", start_after_trim)


def show_again_what_was_shown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SeenMessages, "is_new", lambda *_: True)


def acknowledge_by_counting_down(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participant, "unacknowledged", 0)


def say_nothing_of_a_gap(patch: pytest.MonkeyPatch) -> None:
    real = Participant._enter

    def enter(self: Participant, membership: Membership, now: float) -> list[ClientEvent]:
        membership.missed = 0
        return real(self, membership, now)

    patch.setattr(Participant, "_enter", enter)


def offer_nothing_again(patch: pytest.MonkeyPatch) -> None:
    real = Outbox.renumber

    def renumber(self: Outbox, *, replay: bool) -> None:
        real(self, replay=False)

    patch.setattr(Outbox, "renumber", renumber)


def wait_for_nobody(patch: pytest.MonkeyPatch) -> None:
    real = Participant._phase_on_entering

    def phase(self: Participant, membership: Membership, now: float) -> Phase:
        self._regroup.stop()
        return real(self, membership, now)

    patch.setattr(Participant, "_phase_on_entering", phase)


def keep_no_place(patch: pytest.MonkeyPatch) -> None:
    def suspend(self: Room, member: Member, _now: float) -> None:
        self.leave(member, Reason.LOST)

    patch.setattr(Room, "suspend", suspend)


def step_the_secret_after_a_leave(patch: pytest.MonkeyPatch) -> None:
    real = Room._renew

    def renew(self: Room, now: float) -> list[Unicast]:
        with mock.patch.object(RoomSecret, "fresh", return_value=self._secret.step()):
            return real(self, now)

    patch.setattr(Room, "_renew", renew)


@pytest.mark.slow
@pytest.mark.parametrize(
    "break_it",
    [
        skip_an_acknowledgement,
        be_off_by_one_in_the_cursor,
        resend_with_a_new_number,
        forget_a_splice,
        trim_too_early,
        show_again_what_was_shown,
        acknowledge_by_counting_down,
        say_nothing_of_a_gap,
        offer_nothing_again,
        wait_for_nobody,
        keep_no_place,
        step_the_secret_after_a_leave,
    ],
)
def test_what_is_broken_on_purpose_is_found(
    break_it: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    assert any(_violation_of_seed(seed) for seed in range(1, SEEDS_TO_FIND + 1))


def _violation_of_seed(seed: int) -> ViolationError | None:
    conditions = conditions_of(seed)
    return violation_of(seed, conditions, schedule_of(seed, conditions))


# What p0 says arrives, but p0 does not hear of it; when it is back, the log no longer goes back
# that far.
FORGETFUL = replace(QUIET, window=2_000)
OWN_IN_A_GAP = [
    Action(0.0, "serve"),
    Action(0.1, "start", 0),
    Action(0.2, "start", 1),
    Action(1.0, "stall_down", 0, 60.0),
    Action(1.1, "say", 0, 2.0),
    Action(1.2, "say", 1, 60.0),
    Action(3.0, "reset", 0),
]


def test_own_messages_in_a_gap_are_shown_and_are_not_missed() -> None:
    simulation = Simulation(1, FORGETFUL)
    with patched(simulation.world, FORGETFUL):
        simulation.run(OWN_IN_A_GAP)
    stream = simulation.runs[0].client.story.stream
    at = stream.index(Reconnected(60, new_room=False, awaiting=False))
    said = [item for item in stream[at + 1 : at + 3] if isinstance(item, MessageReceived)]
    assert [(item.name, item.own, item.number) for item in said] == [
        ("p0", True, 1),
        ("p0", True, 2),
    ]


def show_nothing_of_our_own_in_a_gap(patch: pytest.MonkeyPatch) -> None:
    real = Participant._enter

    def enter(self: Participant, membership: Membership, now: float) -> list[ClientEvent]:
        events = real(self, membership, now)
        return [item for item in events if not isinstance(item, MessageReceived)]

    patch.setattr(Participant, "_enter", enter)


def count_our_own_in_a_gap_as_missed(patch: pytest.MonkeyPatch) -> None:
    real = Participant._enter

    def enter(self: Participant, membership: Membership, now: float) -> list[ClientEvent]:
        return [
            replace(item, missed=membership.missed) if isinstance(item, Reconnected) else item
            for item in real(self, membership, now)
        ]

    patch.setattr(Participant, "_enter", enter)


def show_another_number(patch: pytest.MonkeyPatch) -> None:
    real = Participant._show

    def show(
        self: Participant, peer: Peer, content: MessageContent, own: bool
    ) -> list[MessageReceived]:
        return [replace(said, number=said.number + 1) for said in real(self, peer, content, own)]

    patch.setattr(Participant, "_show", show)


@pytest.mark.parametrize(
    "break_it",
    [show_nothing_of_our_own_in_a_gap, count_our_own_in_a_gap_as_missed, show_another_number],
)
def test_what_is_broken_about_our_own_in_a_gap_is_found(
    break_it: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert violation_of(1, FORGETFUL, OWN_IN_A_GAP) is None
    break_it(monkeypatch)
    assert violation_of(1, FORGETFUL, OWN_IN_A_GAP) is not None


# -- a simulation ------------------------------------------------------------------------------


def run_of(seed: int) -> Simulation:
    """What a seed makes, when it is over and every law held."""
    conditions = conditions_of(seed)
    schedule = schedule_of(seed, conditions)
    simulation = Simulation(seed, conditions)
    try:
        with patched(simulation.world, conditions):
            simulation.run(schedule)
    except ViolationError as violation:
        raise ViolationError(report(seed, conditions, schedule)) from violation
    return simulation


def test_same_seed_gives_the_same_run() -> None:
    def logs() -> list[list[tuple[float, int, bytes]]]:
        return [
            [(entry.at, entry.start, entry.frame) for entry in life.entries]
            for life in run_of(7).lives
        ]

    assert logs() == logs()


@pytest.mark.slow
def test_what_can_happen_does_happen() -> None:
    """The seeds that are run go where the laws are hard to keep."""
    seen: Counter[str] = Counter()
    for seed in range(1, SEEDS_LOOKED_INTO + 1):
        simulation = run_of(seed)
        for run in simulation.runs:
            for item in run.client.story.stream:
                match item:
                    case Continued():
                        seen["resumed"] += 1
                    case Reconnected(missed, new_room, awaiting):
                        seen["missed"] += missed > 0
                        seen["new room"] += new_room
                        seen["awaiting"] += awaiting
                    case MessageReceived(own=own):
                        seen["acknowledged" if own else "shown"] += 1
            numbers = Counter((sent.room, sent.member, sent.seq) for sent in run.client.story.sent)
            seen["sent again"] += sum(count > 1 for count in numbers.values())
            seen["ended with an error"] += run.process.error is not None
        texts = Counter(
            life.content(entry).text for life in simulation.lives for entry in life.messages()
        )
        seen["written twice"] += sum(count > 1 for count in texts.values())
        for life in simulation.lives:
            for membership in life.memberships.values():
                seen[f"left: {membership.reason}"] += 1
    expected = {
        "resumed",
        "missed",
        "new room",
        "awaiting",
        "shown",
        "acknowledged",
        "sent again",
        "written twice",
        "ended with an error",
        *(f"left: {reason}" for reason in (Reason.LEFT, Reason.LOST, Reason.REPLACED)),
    }
    assert {what for what in expected if not seen[what]} == set()


@pytest.mark.parametrize("kind", [*WEIGHTS, "serve", "say"])
def test_anything_can_happen_while_nobody_is_there(kind: str) -> None:
    simulate(1, QUIET, [Action(0.5, kind, 0, 1.0)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*WEIGHTS, "serve", "say"])
def test_anything_can_happen_to_somebody_who_talks(kind: str) -> None:
    schedule = [
        Action(0.0, "serve"),
        Action(0.1, "start", 0),
        Action(0.2, "start", 1),
        Action(1.0, "say", 0, 5.0),
        Action(1.01, kind, 0, 1.0),
        Action(1.02, "say", 1, 5.0),
    ]
    simulate(1, QUIET, schedule)


def test_failure_is_reported_with_the_shortest_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    show_again_what_was_shown(monkeypatch)
    skip_an_acknowledgement(monkeypatch)
    schedule = [
        Action(0.0, "serve"),
        *(Action(0.1, "start", who) for who in range(2)),
        *(Action(second, "notice") for second in range(1, 9)),
        Action(10.0, "say", 1, 30.0),
        Action(11.0, "reset", 0),
        Action(12.0, "say", 0, 3.0),
    ]
    lines = report(5, QUIET, schedule).splitlines()
    assert lines[0].startswith("seed 5: p1 ")
    assert lines[1].split() == str(QUIET).split()
    assert [line.strip() for line in lines[2:]] == [
        "Action(0.000, 'serve', 0, 0.000, 0)",
        "Action(0.100, 'start', 1, 0.000, 0)",
        "Action(10.000, 'say', 1, 30.000, 0)",
    ]


def test_seed_that_fails_is_named_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_no_place(monkeypatch)
    failing = next(seed for seed in range(1, SEEDS_TO_FIND) if _violation_of_seed(seed))
    assert simulation.main(["--seeds", "1", "--first", str(failing)]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"seed {failing}: ")
    assert "1 seeds, 1 failed" in printed


def test_seeds_that_hold_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulation.main(["--seeds", "2"]) == 0
    assert "2 seeds, 0 failed" in capsys.readouterr().out


# -- the machine -------------------------------------------------------------------------------


class Machine:
    """Two processes with a connection between them."""

    def __init__(self, shred: float = 0.0, capacity: int = 1000) -> None:
        self.world = World(1)
        self.world.shred = shred
        self.near = Socket(Process(self.world, "near"))
        self.far = Socket(Process(self.world, "far"))
        for end, other in ((self.near, self.far), (self.far, self.near)):
            end.outgoing = other.incoming = Stream(end, other, 0.1, capacity)

    def wait(self) -> None:
        self.world.run(self.world.now + 10)


def test_bytes_arrive_in_order_in_whatever_pieces() -> None:
    machine = Machine(shred=0.9)
    data = bytes(range(256)) * 4
    sent = received = b""
    while len(received) < len(data):
        if len(sent) < len(data) and machine.near.writable:
            sent += data[len(sent) :][: machine.near.send(data[len(sent) :])]
        machine.wait()
        if machine.far.readable:
            received += machine.far.recv(100)
    assert received == data


def test_nothing_arrives_before_its_time() -> None:
    machine = Machine()
    machine.near.send(b"hello")
    with pytest.raises(BlockingIOError):
        machine.far.recv(100)
    machine.wait()
    assert machine.far.recv(100) == b"hello"


def test_full_connection_takes_no_more_until_it_is_read() -> None:
    machine = Machine(capacity=10)
    assert machine.near.send(b"0123456789ab") == 10
    assert not machine.near.writable
    with pytest.raises(BlockingIOError):
        machine.near.send(b"ab")
    machine.wait()
    machine.far.recv(4)
    assert machine.near.send(b"abcdef") == 4


def test_severed_connection_keeps_a_beginning_and_tells_nobody() -> None:
    machine = Machine()
    machine.near.send(b"hello")
    assert machine.near.outgoing is not None
    machine.near.outgoing.sever()
    machine.near.send(b"world")
    machine.wait()
    arrived = machine.far.recv(100) if machine.far.readable else b""
    assert b"hello".startswith(arrived)
    with pytest.raises(BlockingIOError):
        machine.far.recv(100)


def test_reset_is_seen_by_reader_and_writer() -> None:
    machine = Machine()
    machine.far.break_down()
    with pytest.raises(ConnectionResetError):
        machine.far.recv(100)
    with pytest.raises(BrokenPipeError):
        machine.far.send(b"x")


def test_close_is_the_end_for_the_peer_and_what_it_sends_then_resets_it() -> None:
    machine = Machine()
    machine.near.send(b"bye")
    machine.near.close()
    machine.wait()
    assert machine.far.recv(100) == b"bye"
    assert machine.far.recv(100) == b""
    machine.far.send(b"are you there?")
    machine.wait()
    with pytest.raises(ConnectionResetError):
        machine.far.recv(100)


def test_close_with_bytes_unread_resets_the_peer() -> None:
    machine = Machine()
    machine.near.send(b"hello")
    machine.wait()
    machine.far.close()
    with pytest.raises(ConnectionResetError):
        machine.near.recv(100)


def test_descriptor_closed_while_watched_is_a_violation() -> None:
    machine = Machine()
    machine.near.process.reactor.watch_read(machine.near.fileno(), lambda: None)
    with pytest.raises(ViolationError, match="near closes a descriptor that it watches"):
        machine.near.close()


def test_process_that_spins_is_a_violation() -> None:
    world = World(1)
    process = Process(world, "spinner")
    source = Input(process, is_terminal=False)
    process.reactor.watch_read(source.fileno(), lambda: None)
    process.start(process.reactor.run)
    source.end()
    with pytest.raises(ViolationError, match="spinner spins"):
        world.run(START + 1)


def test_process_that_fails_is_a_violation() -> None:
    world = World(1)
    process = Process(world, "failing")
    process.reactor.call_at(START + 5, process.descriptors.clear)
    process.reactor.call_at(START + 6, lambda: process.descriptors[0].close())
    process.start(process.reactor.run)
    with pytest.raises(ViolationError, match="failing fails: IndexError"):
        world.run(START + 10)


def test_hooks_run_at_the_end_of_each_turn_and_not_again_after_a_wait() -> None:
    world = World(1)
    process = Process(world, "process")
    source = Input(process, is_terminal=False)
    log: list[str] = []
    process.reactor.before_wait(lambda: log.append("hook"))
    process.reactor.watch_read(source.fileno(), lambda: log.append(str(source.read(100))))
    process.reactor.call_at(START + 2, lambda: log.append("timer"))
    process.start(process.reactor.run)
    world.at(START + 1, lambda: source.feed(b"x"))
    world.run(START + 3)
    assert log == ["b'x'", "hook", "timer", "hook"]


def test_frozen_process_goes_on_later() -> None:
    world = World(1)
    process = Process(world, "process")
    called: list[float] = []
    process.reactor.call_at(START + 1, lambda: called.append(world.now))
    process.start(process.reactor.run)
    process.freeze(5)
    world.run(START + 10)
    assert called == [START + 5]


def test_output_takes_no_more_while_nobody_reads() -> None:
    world = World(1)
    output = Output(Process(world, "process"))
    output.stall(5)
    while output.writable:
        output.write(b"x" * 1000)
    size = len(output.written)
    world.run(START + 10)
    assert output.writable
    assert output.write(b"y") == 1
    assert len(output.written) == size + 1


def test_selector_tells_only_what_is_asked() -> None:
    machine = Machine()
    selector = machine.near.process.reactor.selector
    selector.register(machine.near.fileno(), selectors.EVENT_READ, "data")
    assert selector.ready() == []
    selector.modify(machine.near.fileno(), selectors.EVENT_WRITE, "data")
    assert [key.data for key, _ in selector.ready()] == ["data"]


# -- the stand-ins for keys --------------------------------------------------------------------


def test_cheap_derivation_gives_what_the_real_one_gives() -> None:
    for salt in (b"", b"salt"):
        real = kex._derive(b"material", salt, b"label", 64)
        assert derive(b"material", salt, b"label", 64) == real


def test_cheap_keys_are_bound_to_their_owners() -> None:
    ira, other = cheap_key("ira"), cheap_key("other")
    random_bytes = FixedBytes("cheap")
    with ExitStack() as stack:
        patch_keys(stack)
        wrapped = ira.public.wrap(b"k" * 32, random_bytes)
        assert ira.unwrap(wrapped) == b"k" * 32
        with pytest.raises(OpenError):
            other.unwrap(wrapped)
        offer = SignedShare.make(ira, START, random_bytes)
        signed = (offer.share.public, offer.not_after, offer.signature)
        kex.check_offer(*signed, ira.public, START)
        with pytest.raises(ProtocolError):
            kex.check_offer(*signed, other.public, START)
        with pytest.raises(ProtocolError):
            kex.check_offer(*signed, ira.public, START + 10_000)
        one, two = kex.KeyShare(random_bytes), kex.KeyShare(random_bytes)
        assert one.agree(two.public) == two.agree(one.public)
    assert ira.public.digest == fingerprint_of("ira")
