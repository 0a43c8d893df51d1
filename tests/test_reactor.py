"""The event loop: the order of a turn, descriptors of every kind, timers, deferring, signals."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from chat.reactor import Callback, Reactor
from tests.support.helpers import FakeClock

LONG = 20.0
"""Bounds a wait that something ends long before."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reactor(clock: FakeClock) -> Iterator[Reactor]:
    with contextlib.closing(Reactor(clock)) as reactor:
        yield reactor


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGUSR1, signal.SIGUSR2)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


class Calls:
    """Notes the order in which callbacks are called."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, name: str) -> Callback:
        return lambda: self.made.append(name)


def nothing() -> None:
    pass


# -- the order of a turn


def test_turn_goes_through_hooks_descriptors_timers_and_deferred_work_in_this_order(
    reactor: Reactor, clock: FakeClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    reactor.defer(call("deferred"))
    reactor.call_at(clock.now, call("timer"))
    reactor.watch_write(pair[0].fileno(), call("write"))
    reactor.before_wait(call("first hook"))
    reactor.before_wait(call("second hook"))
    reactor.turn()
    assert call.made == ["first hook", "second hook", "write", "timer", "deferred"]


def test_descriptor_that_can_be_read_and_written_is_read_first(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    pair[1].send(b"x")
    reactor.watch_write(pair[0].fileno(), call("write"))
    reactor.watch_read(pair[0].fileno(), call("read"))
    reactor.turn()
    assert call.made == ["read", "write"]


def test_hooks_run_in_every_turn(reactor: Reactor) -> None:
    call = Calls()
    reactor.before_wait(call("hook"))
    reactor.turn(0)
    reactor.turn(0)
    assert call.made == ["hook", "hook"]


def test_run_takes_turns_until_stopped(reactor: Reactor) -> None:
    call = Calls()
    for name in ("one", "two"):
        reactor.defer(call(name))
    reactor.defer(reactor.stop)
    reactor.defer(call("never"))
    reactor.run()
    assert call.made == ["one", "two"]


def test_stop_lets_the_turn_come_to_its_end(reactor: Reactor, clock: FakeClock) -> None:
    call = Calls()
    reactor.call_at(clock.now, reactor.stop)
    reactor.call_at(clock.now, call("later timer"))
    reactor.defer(call("deferred"))
    reactor.run()
    assert call.made == ["later timer", "deferred"]


# -- descriptors


def test_descriptor_is_called_as_long_as_it_is_ready(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    got: list[bytes] = []
    reactor.watch_read(ours.fileno(), lambda: got.append(ours.recv(1)))
    theirs.send(b"ab")
    for _ in range(3):
        reactor.turn(0)
    assert got == [b"a", b"b"]


def test_end_of_the_peer_is_readable(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    reactor.watch_read(pair[0].fileno(), call("read"))
    pair[1].close()
    reactor.turn(0)
    assert call.made == ["read"]


def test_descriptor_unwatched_by_an_earlier_callback_is_not_called_in_the_same_turn(
    reactor: Reactor,
) -> None:
    """Whichever of the two is called first, the other one is not."""
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(2)]
        first, second = (ours.fileno() for ours, _ in pairs)
        call = Calls()

        def unwatch_the_other(mine: str, other: int) -> Callable[[], None]:
            def callback() -> None:
                call(mine)()
                reactor.unwatch(other)

            return callback

        reactor.watch_read(first, unwatch_the_other("first", second))
        reactor.watch_read(second, unwatch_the_other("second", first))
        for _, theirs in pairs:
            theirs.send(b"x")
        reactor.turn(0)
        assert len(call.made) == 1
        reactor.turn(0)
        assert call.made == [call.made[0]] * 2


def test_reader_that_unwatches_its_own_descriptor_prevents_the_writer(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    descriptor = pair[0].fileno()
    pair[1].send(b"x")
    reactor.watch_read(descriptor, lambda: reactor.unwatch(descriptor))
    reactor.watch_write(descriptor, call("write"))
    reactor.turn(0)
    reactor.turn(0)
    assert call.made == []


def test_new_descriptor_with_the_number_of_a_closed_one_does_not_get_its_events(
    reactor: Reactor,
) -> None:
    call = Calls()
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(end) for end in socket.socketpair()]
        trigger = [stack.enter_context(end) for end in socket.socketpair()]

        def replace() -> None:
            """Closes the other one; the kernel gives its number to the next that is opened."""
            reactor.unwatch(trigger[0].fileno())
            number = old[0].fileno()
            reactor.unwatch(number)
            old[0].close()
            fresh = [stack.enter_context(end) for end in socket.socketpair()]
            assert number in (end.fileno() for end in fresh)
            for end in fresh:
                reactor.watch_read(end.fileno(), call("new"))

        reactor.watch_read(trigger[0].fileno(), replace)
        reactor.watch_read(old[0].fileno(), call("old"))
        trigger[1].send(b"x")
        reactor.turn(0)
        old[1].close()
        reactor.turn(0)
    assert call.made == []


def test_reading_and_writing_are_watched_apart(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    descriptor = pair[0].fileno()
    pair[1].send(b"x")
    reactor.watch_read(descriptor, call("read"))
    reactor.watch_write(descriptor, call("write"))
    reactor.watch_read(descriptor, None)
    reactor.turn(0)
    reactor.watch_write(descriptor, None)
    reactor.turn(0)
    reactor.watch_read(descriptor, call("read again"))
    reactor.turn(0)
    assert call.made == ["write", "read again"]


def test_unwatching_what_is_not_watched_is_harmless(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    reactor.unwatch(pair[0].fileno())
    reactor.watch_read(pair[0].fileno(), None)
    reactor.watch_write(pair[0].fileno(), None)
    reactor.turn(0)


def test_regular_file_is_always_ready(reactor: Reactor, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    got: list[bytes] = []
    with path.open("rb", buffering=0) as file:
        reactor.watch_read(file.fileno(), lambda: got.append(os.read(file.fileno(), 2)))
        for _ in range(3):
            reactor.turn()
        reactor.unwatch(file.fileno())
        reactor.turn(0)
    assert got == [b"ab", b"c", b""]


def test_null_device_is_always_ready_in_both_directions(reactor: Reactor) -> None:
    call = Calls()
    with open(os.devnull, "r+b", buffering=0) as null:
        reactor.watch_read(null.fileno(), call("read"))
        reactor.watch_write(null.fileno(), call("write"))
        reactor.turn()
        reactor.watch_read(null.fileno(), None)
        reactor.turn()
        reactor.watch_write(null.fileno(), None)
        reactor.turn(0)
    assert call.made == ["read", "write", "write"]


def test_always_ready_descriptor_unwatched_in_the_turn_is_not_called(reactor: Reactor) -> None:
    call = Calls()
    with (
        open(os.devnull, "rb", buffering=0) as first,
        open(os.devnull, "rb", buffering=0) as second,
    ):

        def unwatch_both() -> None:
            call("first")()
            reactor.unwatch(first.fileno())
            reactor.unwatch(second.fileno())

        reactor.watch_read(first.fileno(), unwatch_both)
        reactor.watch_read(second.fileno(), call("second"))
        reactor.turn()
        reactor.turn(0)
    assert call.made == ["first"]


def test_always_ready_descriptor_does_not_starve_the_others(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    pair[1].send(b"x")
    with open(os.devnull, "rb", buffering=0) as null:
        reactor.watch_read(null.fileno(), nothing)
        reactor.watch_read(pair[0].fileno(), call("socket"))
        reactor.turn()
    assert call.made == ["socket"]


# -- timers


def test_timer_is_called_once_when_its_time_has_come(reactor: Reactor, clock: FakeClock) -> None:
    call = Calls()
    reactor.call_at(clock.now + 5, call("timer"))
    clock.advance(4.999)
    reactor.turn(0)
    assert call.made == []
    clock.advance(0.001)
    reactor.turn()
    reactor.turn(0)
    assert call.made == ["timer"]


def test_timers_are_called_by_their_times_and_not_in_the_order_they_were_set(
    reactor: Reactor, clock: FakeClock
) -> None:
    call = Calls()
    for delay in (3, 1, 2):
        reactor.call_at(clock.now + delay, call(f"after {delay}"))
    clock.advance(3)
    reactor.turn()
    assert call.made == ["after 1", "after 2", "after 3"]


def test_cancelled_timer_is_not_called(reactor: Reactor, clock: FakeClock) -> None:
    call = Calls()
    timer = reactor.call_at(clock.now + 1, call("cancelled"))
    reactor.call_at(clock.now + 2, call("kept"))
    timer.cancel()
    clock.advance(2)
    reactor.turn()
    timer.cancel()
    assert call.made == ["kept"]


def test_timer_cancelled_by_one_of_the_same_turn_is_not_called(
    reactor: Reactor, clock: FakeClock
) -> None:
    call = Calls()
    later = reactor.call_at(clock.now + 2, call("later"))
    reactor.call_at(clock.now + 1, later.cancel)
    clock.advance(2)
    reactor.turn()
    assert call.made == []


def test_cancelled_timer_does_not_end_the_wait(
    reactor: Reactor, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = recorded_waits(reactor, monkeypatch)
    reactor.call_at(clock.now + 1, nothing).cancel()
    reactor.call_at(clock.now + 7, nothing)
    reactor.turn()
    assert waits == [7.0]


def recorded_waits(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Lets the selector return at once, and notes for how long it would have waited."""
    waits: list[float | None] = []

    def select(timeout: float | None = None) -> list[object]:
        waits.append(timeout)
        return []

    monkeypatch.setattr(reactor._selector, "select", select)
    return waits


@pytest.mark.parametrize(
    ("timer", "bound", "wait"),
    [
        (None, None, None),
        (None, 3.0, 3.0),
        (5.0, None, 5.0),
        (5.0, 3.0, 3.0),
        (2.0, 3.0, 2.0),
        (-1.0, None, 0.0),
        (float("-inf"), None, 0.0),
    ],
)
def test_wait_lasts_until_the_next_timer_or_the_bound(
    reactor: Reactor,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    timer: float | None,
    bound: float | None,
    wait: float | None,
) -> None:
    waits = recorded_waits(reactor, monkeypatch)
    if timer is not None:
        reactor.call_at(clock.now + timer, nothing)
    reactor.turn(bound)
    assert waits == [wait]


def test_nobody_waits_while_something_is_deferred(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = recorded_waits(reactor, monkeypatch)
    reactor.defer(nothing)
    reactor.turn()
    reactor.turn()
    assert waits == [0, None]


def test_timer_set_by_a_timer_may_be_due_in_the_same_turn(
    reactor: Reactor, clock: FakeClock
) -> None:
    call = Calls()

    def first() -> None:
        reactor.call_at(clock.now, call("second"))

    reactor.call_at(clock.now, first)
    reactor.turn()
    assert call.made == ["second"]


# -- deferred work


def test_deferred_work_is_done_one_piece_a_turn_and_in_order(reactor: Reactor) -> None:
    call = Calls()
    for name in ("one", "two", "three"):
        reactor.defer(call(name))
    reactor.turn()
    assert call.made == ["one"]
    reactor.turn()
    reactor.turn()
    reactor.turn(0)
    assert call.made == ["one", "two", "three"]


def test_descriptors_have_their_turn_between_deferred_pieces(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    call = Calls()
    reactor.watch_write(pair[0].fileno(), call("write"))
    reactor.defer(call("one"))
    reactor.defer(call("two"))
    reactor.turn()
    reactor.turn()
    assert call.made == ["write", "one", "write", "two"]


# -- signals


@pytest.mark.usefixtures("signals_as_before")
def test_signal_is_told_as_part_of_a_turn(reactor: Reactor) -> None:
    call = Calls()
    reactor.on_signals([signal.SIGUSR1], call("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert call.made == []
    reactor.turn(LONG)
    assert call.made == ["signal"]


@pytest.mark.usefixtures("signals_as_before")
def test_signals_have_the_callbacks_they_were_given(reactor: Reactor) -> None:
    call = Calls()
    reactor.on_signals([signal.SIGUSR1], call("one"))
    reactor.on_signals([signal.SIGUSR2], call("two"))
    os.kill(os.getpid(), signal.SIGUSR2)
    reactor.turn(LONG)
    assert call.made == ["two"]


@pytest.mark.usefixtures("signals_as_before")
def test_same_signal_twice_in_one_turn_is_told_once(reactor: Reactor) -> None:
    call = Calls()
    reactor.on_signals([signal.SIGUSR1], call("signal"))
    for _ in range(2):
        signal.raise_signal(signal.SIGUSR1)
    reactor.turn(LONG)
    reactor.turn(0)
    assert call.made == ["signal"]


@pytest.mark.usefixtures("signals_as_before")
def test_ignored_signal_stays_ignored(reactor: Reactor) -> None:
    call = Calls()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    reactor.on_signals([signal.SIGUSR1, signal.SIGUSR2], call("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    reactor.turn(0)
    assert call.made == []
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGUSR2)
    reactor.turn(LONG)
    assert call.made == ["signal"]


@pytest.mark.usefixtures("signals_as_before")
def test_signal_of_somebody_else_is_not_told(reactor: Reactor) -> None:
    call = Calls()
    heard: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _frame: heard.append(number))
    reactor.on_signals([signal.SIGUSR1], call("ours"))
    os.kill(os.getpid(), signal.SIGUSR2)
    reactor.turn(LONG)
    assert (heard, call.made) == ([signal.SIGUSR2], [])


@pytest.mark.usefixtures("signals_as_before")
def test_close_gives_handlers_and_the_wakeup_descriptor_back(clock: FakeClock) -> None:
    heard: list[int] = []

    def handler(number: int, _frame: object) -> None:
        heard.append(number)

    signal.signal(signal.SIGUSR1, handler)
    with socket.socket() as mine:
        mine.setblocking(False)
        before = signal.set_wakeup_fd(mine.fileno())
        try:
            reactor = Reactor(clock)
            reactor.on_signals([signal.SIGUSR1], nothing)
            reactor.on_signals([signal.SIGUSR1], nothing)
            assert signal.getsignal(signal.SIGUSR1) is not handler
            reactor.close()
            assert signal.set_wakeup_fd(-1) == mine.fileno()
        finally:
            signal.set_wakeup_fd(before)
    assert signal.getsignal(signal.SIGUSR1) is handler
    signal.raise_signal(signal.SIGUSR1)
    assert heard == [signal.SIGUSR1]


@pytest.mark.usefixtures("signals_as_before")
def test_close_leaves_no_descriptor_behind(clock: FakeClock) -> None:
    before = set(os.listdir("/dev/fd"))
    reactor = Reactor(clock)
    reactor.on_signals([signal.SIGUSR1], nothing)
    reactor.close()
    assert set(os.listdir("/dev/fd")) == before


def test_reactor_without_signals_leaves_the_wakeup_descriptor_alone(clock: FakeClock) -> None:
    with socket.socket() as mine:
        mine.setblocking(False)
        before = signal.set_wakeup_fd(mine.fileno())
        try:
            Reactor(clock).close()
            assert signal.set_wakeup_fd(-1) == mine.fileno()
        finally:
            signal.set_wakeup_fd(before)


def test_hook_that_stops_the_loop_keeps_it_from_waiting() -> None:
    reactor = Reactor()
    waited: list[str] = []
    reactor.call_at(reactor.clock() + 3600, lambda: waited.append("an hour"))
    reactor.before_wait(reactor.stop)
    reactor.run()
    reactor.close()
    assert waited == []


# -- who can wait


def test_those_who_can_wait_come_last_and_each_has_its_turn(
    reactor: Reactor, pair: tuple[socket.socket, socket.socket]
) -> None:
    """However many of them are always ready, and in whichever order the system tells them."""
    reactor.patient_per_turn = 10
    call, count = Calls(), 3 * reactor.patient_per_turn + 1
    with contextlib.ExitStack() as stack:
        for number in range(count):
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            theirs.send(b"x")
            reactor.watch_read(ours.fileno(), call(f"patient {number}"), patient=True)
        reactor.watch_read(ready_socket(pair), call("urgent"))
        for _ in range(4):
            before = len(call.made)
            reactor.turn(0)
            made = call.made[before:]
            assert made[0] == "urgent"
            assert len(made) == 1 + reactor.patient_per_turn
    assert len(set(call.made)) == 1 + count


# -- faults


class Broken:
    """Something whose callbacks always fail, and whoever deals with it."""

    PAUSE = 1.0

    def __init__(self, reactor: Reactor) -> None:
        self.calls = 0
        self.told: list[object] = []
        reactor.on_fault = self.on_fault

    def on_fault(self, answering: object, _fault: Exception) -> float:
        self.told.append(answering)
        return self.PAUSE

    def fail(self) -> None:
        self.calls += 1
        raise RuntimeError


def test_callback_that_fails_does_not_end_the_turn(
    reactor: Reactor, clock: FakeClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    broken, call = Broken(reactor), Calls()
    for callback in (broken.fail, call("hook")):
        reactor.before_wait(callback)
    for callback in (broken.fail, call("timer")):
        reactor.call_at(clock.now, callback)
    reactor.watch_write(pair[0].fileno(), partial(broken.fail))
    reactor.watch_write(pair[1].fileno(), call("write"))
    reactor.defer(broken.fail)
    reactor.turn()
    assert call.made == ["hook", "write", "timer"]
    assert broken.told == [broken] * 4


def ready_socket(pair: tuple[socket.socket, socket.socket]) -> int:
    pair[1].send(b"x")
    return pair[0].fileno()


def always_ready(_pair: tuple[socket.socket, socket.socket]) -> int:
    return os.open(os.devnull, os.O_RDWR)


@pytest.mark.parametrize("ready", [ready_socket, always_ready])
def test_descriptor_whose_callback_fails_is_left_alone_for_a_while(
    reactor: Reactor,
    clock: FakeClock,
    pair: tuple[socket.socket, socket.socket],
    ready: Callable[[tuple[socket.socket, socket.socket]], int],
) -> None:
    broken = Broken(reactor)
    descriptor = ready(pair)
    reactor.watch_read(descriptor, broken.fail)
    for _ in range(5):
        reactor.turn(0)
    assert broken.calls == 1
    # Even if somebody asks for it meanwhile.
    reactor.watch_read(descriptor, broken.fail)
    clock.advance(Broken.PAUSE - 0.001)
    reactor.turn(0)
    assert broken.calls == 1
    clock.advance(0.001)
    for _ in range(5):
        reactor.turn(0)
    assert broken.calls == 2
    reactor.unwatch(descriptor)
    clock.advance(Broken.PAUSE)
    for _ in range(5):
        reactor.turn(0)
    assert broken.calls == 2


def test_new_descriptor_with_the_number_of_one_that_failed_is_not_left_alone(
    reactor: Reactor, clock: FakeClock
) -> None:
    broken, call = Broken(reactor), Calls()
    old = socket.socketpair()
    number = ready_socket(old)
    reactor.watch_read(number, broken.fail)
    reactor.turn(0)
    reactor.unwatch(number)
    for end in old:
        end.close()
    with contextlib.ExitStack() as stack:
        fresh = [stack.enter_context(end) for end in socket.socketpair()]
        assert number in [end.fileno() for end in fresh]
        for end in fresh:
            reactor.watch_write(end.fileno(), call("new"))
        reactor.turn(0)
        clock.advance(Broken.PAUSE)
        reactor.turn(0)
        assert call.made == ["new"] * 4
        assert broken.calls == 1
