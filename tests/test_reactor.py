"""The event loop: the order of a turn, descriptors of every kind, timers, deferring, signals."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from chat.reactor import Callback, Reactor, WakeUp
from tests.support.helpers import FakeClock

LONG = 20.0
"""Bounds a wait that something ends long before."""

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
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


@pytest.fixture
def call() -> Calls:
    return Calls()


def nothing() -> None:
    pass


# -- the order of a turn


def test_turn_goes_through_descriptors_timers_deferred_work_and_hooks_in_this_order(
    reactor: Reactor, clock: FakeClock, pair: Pair, call: Calls
) -> None:
    """And a descriptor that can be read and written is read first."""
    pair[1].send(b"x")
    reactor.defer(call("deferred"))
    reactor.call_at(clock.now, call("timer"))
    reactor.watch_write(pair[0].fileno(), call("write"))
    reactor.watch_read(pair[0].fileno(), call("read"))
    reactor.before_wait(call("first hook"))
    reactor.before_wait(call("second hook"))
    reactor.turn()
    assert call.made == ["read", "write", "timer", "deferred", "first hook", "second hook"]
    reactor.turn()
    assert call.made[6:] == ["read", "write", "first hook", "second hook"]


def test_run_takes_turns_until_stopped(reactor: Reactor, clock: FakeClock, call: Calls) -> None:
    def stop_soon() -> None:
        reactor.call_at(clock.now, reactor.stop)

    for name in ("one", "two"):
        reactor.defer(call(name))
    reactor.defer(stop_soon)
    reactor.defer(call("last"))
    reactor.defer(call("never"))
    reactor.run()
    assert call.made == ["one", "two", "last"]


def test_hook_that_stops_the_loop_keeps_it_from_waiting() -> None:
    with contextlib.closing(Reactor()) as reactor:
        waited: list[str] = []
        reactor.call_at(reactor.clock() + 3600, lambda: waited.append("an hour"))
        reactor.before_wait(reactor.stop)
        reactor.defer(nothing)
        reactor.run()
        assert waited == []


# -- descriptors


def test_descriptor_is_called_as_long_as_it_is_ready(reactor: Reactor, pair: Pair) -> None:
    ours, theirs = pair
    got: list[bytes] = []
    reactor.watch_read(ours.fileno(), lambda: got.append(ours.recv(1)))
    theirs.send(b"ab")
    for _ in range(3):
        reactor.turn(0)
    theirs.close()
    reactor.turn(0)
    assert got == [b"a", b"b", b""]


def test_descriptor_unwatched_in_the_same_turn_is_not_called(reactor: Reactor, call: Calls) -> None:
    """Whichever of the two is called first, the other one is not."""
    with contextlib.ExitStack() as stack:
        pairs = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(2)]
        first, second = (ours.fileno() for ours, _ in pairs)

        def unwatch_the_other(mine: str, other: int) -> None:
            call(mine)()
            reactor.unwatch(other)

        reactor.watch_read(first, partial(unwatch_the_other, "first", second))
        reactor.watch_read(second, partial(unwatch_the_other, "second", first))
        for _, theirs in pairs:
            theirs.send(b"x")
        reactor.turn(0)
        assert len(call.made) == 1
        reactor.turn(0)
        assert call.made == [call.made[0]] * 2


def test_reader_that_unwatches_prevents_the_writer(
    reactor: Reactor, pair: Pair, call: Calls
) -> None:
    descriptor = pair[0].fileno()
    pair[1].send(b"x")
    reactor.watch_read(descriptor, lambda: reactor.unwatch(descriptor))
    reactor.watch_write(descriptor, call("write"))
    reactor.turn(0)
    reactor.turn(0)
    assert call.made == []
    reactor.unwatch(descriptor)


def test_new_descriptor_with_an_old_number_is_not_called(reactor: Reactor, call: Calls) -> None:
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


def test_reading_and_writing_are_watched_apart(reactor: Reactor, pair: Pair, call: Calls) -> None:
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


def test_null_device_is_always_ready_both_ways(reactor: Reactor, pair: Pair, call: Calls) -> None:
    """The selector refuses it, as it refuses regular files."""
    pair[1].send(b"x")
    with open(os.devnull, "r+b", buffering=0) as null:
        reactor.watch_read(null.fileno(), call("read"))
        reactor.watch_write(null.fileno(), call("write"))
        reactor.turn()
        reactor.watch_read(null.fileno(), None)
        reactor.watch_read(pair[0].fileno(), call("socket"))
        reactor.turn()
        reactor.watch_write(null.fileno(), None)
        reactor.unwatch(pair[0].fileno())
        reactor.turn(0)
    assert call.made == ["read", "write", "socket", "write"]


def test_always_ready_descriptor_unwatched_is_not_called(reactor: Reactor, call: Calls) -> None:
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


# -- timers, and for how long to wait


def test_timers_are_called_once_by_their_times(
    reactor: Reactor, clock: FakeClock, call: Calls
) -> None:
    for delay in (3, 1, 2):
        reactor.call_at(clock.now + delay, call(f"after {delay}"))
    clock.advance(0.999)
    reactor.turn(0)
    assert call.made == []
    clock.advance(0.001)
    reactor.turn()
    assert call.made == ["after 1"]
    clock.advance(2)
    reactor.turn()
    reactor.turn(0)
    assert call.made == ["after 1", "after 2", "after 3"]


def test_cancelled_timer_is_not_called(reactor: Reactor, clock: FakeClock, call: Calls) -> None:
    timer = reactor.call_at(clock.now + 1, call("cancelled"))
    reactor.call_at(clock.now + 2, call("kept"))
    later = reactor.call_at(clock.now + 3, call("cancelled by another"))
    reactor.call_at(clock.now + 2, later.cancel)
    timer.cancel()
    clock.advance(3)
    reactor.turn()
    timer.cancel()
    assert call.made == ["kept"]


def test_what_arrived_while_the_process_was_stopped_comes_before_what_is_due(
    reactor: Reactor, clock: FakeClock, pair: Pair, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait that a stop has interrupted tells of no descriptor when its time is up."""
    select = reactor._selector.select
    waits: list[float | None] = []

    def interrupted(timeout: float | None = None) -> list[Any]:
        waits.append(timeout)
        if len(waits) > 1:
            return select(timeout)
        pair[1].send(b"x")
        clock.advance(10)
        return []

    monkeypatch.setattr(reactor._selector, "select", interrupted)
    reactor.watch_read(pair[0].fileno(), call("read"))
    reactor.call_at(clock.now + 5, call("timer"))
    reactor.turn()
    assert call.made == ["read", "timer"]
    assert waits[0] == 5


def test_timer_set_by_a_timer_may_be_due(reactor: Reactor, clock: FakeClock, call: Calls) -> None:
    def first() -> None:
        reactor.call_at(clock.now, call("second"))

    reactor.call_at(clock.now, first)
    reactor.turn()
    assert call.made == ["second"]


@pytest.fixture
def waits(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Lets the selector return at once, and notes for how long it would have waited. The look
    behind a wait in vain is none."""
    waits: list[float | None] = []
    looks_again = False

    def select(timeout: float | None = None) -> list[object]:
        nonlocal looks_again
        if looks_again:
            assert timeout == 0
        else:
            waits.append(timeout)
        looks_again = bool(timeout) and not looks_again
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
    waits: list[float | None],
    timer: float | None,
    bound: float | None,
    wait: float | None,
) -> None:
    reactor.call_at(clock.now + 1, nothing).cancel()
    if timer is not None:
        reactor.call_at(clock.now + timer, nothing)
    reactor.turn(bound)
    assert waits == [wait]


def test_wake_up_can_move(reactor: Reactor, clock: FakeClock, waits: list[float | None]) -> None:
    wake_up = WakeUp(reactor)
    for delay in (5.0, 5.0, 3.0, None):
        wake_up.set(None if delay is None else clock.now + delay)
        reactor.turn()
    assert waits == [5.0, 5.0, 3.0, None]


def test_wake_up_that_is_moved_back_takes_one_timer_however_often(
    reactor: Reactor, clock: FakeClock, waits: list[float | None], call: Calls
) -> None:
    wake_up, began = WakeUp(reactor, call("wake up")), clock.now
    for delay in range(5, 500):
        wake_up.set(began + delay)
    assert len(reactor._timers) == 1
    for now in (0, 5, 498, 499):
        clock.now = began + now
        reactor.turn()
    assert (waits, call.made) == ([5, 0, 1, 0], ["wake up"])


def test_wake_up_that_has_been_is_again_at_the_same_time_if_there_is_more_to_do(
    reactor: Reactor, clock: FakeClock, waits: list[float | None], call: Calls
) -> None:
    wake_up, due_at = WakeUp(reactor, call("wake up")), clock.now + 5
    for _ in range(3):
        wake_up.set(due_at)
        reactor.turn()
        clock.now = due_at
    assert waits == [5.0, 0, 0]
    assert call.made == ["wake up"] * 2


# -- deferred work


def test_nobody_waits_while_work_is_deferred(reactor: Reactor, waits: list[float | None]) -> None:
    reactor.defer(nothing)
    reactor.turn()
    reactor.turn()
    assert waits == [0, None]


def test_deferred_work_is_done_one_piece_a_turn(reactor: Reactor, pair: Pair, call: Calls) -> None:
    reactor.watch_write(pair[0].fileno(), call("write"))
    for name in ("one", "two", "three"):
        reactor.defer(call(name))
    for _ in range(4):
        reactor.turn(0)
    assert call.made == ["write", "one", "write", "two", "write", "three", "write"]


# -- signals

ONE, TWO = signal.SIGUSR1, signal.SIGUSR2


@pytest.mark.usefixtures("signals_as_before")
@pytest.mark.parametrize("arrive", [(TWO, TWO, ONE), (ONE, TWO, ONE)])
def test_signal_is_told_in_a_turn_and_to_its_own_callback(
    reactor: Reactor, call: Calls, arrive: tuple[int, ...]
) -> None:
    """Once, where the last of its kind stood."""
    reactor.on_signals([ONE], call("one"))
    reactor.on_signals([TWO], call("two"))
    for number in arrive:
        signal.raise_signal(number)
    assert call.made == []
    reactor.turn(LONG)
    reactor.turn(0)
    assert call.made == ["two", "one"]


@pytest.mark.usefixtures("signals_as_before")
def test_callback_sees_which_signals_have_arrived_after_its_own(reactor: Reactor) -> None:
    seen: list[list[bool]] = []

    def look() -> None:
        seen.append([reactor.has_arrived(number) for number in (ONE, TWO)])

    def look_twice() -> None:
        look()
        signal.raise_signal(ONE)
        look()

    reactor.on_signals([ONE], look_twice)
    reactor.on_signals([TWO], look)
    look()
    for number in (ONE, TWO):
        signal.raise_signal(number)
    look()
    reactor.turn(LONG)
    assert seen == [[False, False], [True, True], [False, True], [True, True], [True, False]]


@pytest.mark.usefixtures("signals_as_before")
def test_no_signal_hides_behind_many_others(reactor: Reactor, call: Calls) -> None:
    """The wake-up socket has no room for so many."""
    reactor.on_signals([ONE], call("one"))
    reactor.on_signals([TWO], call("two"))
    for number in [ONE] * 2_000 + [TWO]:
        signal.raise_signal(number)
    assert reactor.has_arrived(TWO)
    for _ in range(3):
        reactor.turn(0)
    assert call.made == ["one", "two"]
    assert not reactor.has_arrived(TWO)


@pytest.mark.usefixtures("signals_as_before")
def test_signal_ignored_or_of_somebody_else_is_not_told(reactor: Reactor, call: Calls) -> None:
    heard: list[int] = []
    signal.signal(ONE, signal.SIG_IGN)
    signal.signal(TWO, lambda number, _frame: heard.append(number))
    reactor.on_signals([ONE], call("ours"))
    for number in (ONE, TWO):
        signal.raise_signal(number)
    reactor.turn(0)
    assert (heard, call.made) == ([TWO], [])
    assert signal.getsignal(ONE) is signal.SIG_IGN


@pytest.mark.usefixtures("signals_as_before")
@pytest.mark.parametrize("asked", [0, 2])
def test_close_gives_handlers_and_descriptors_back(clock: FakeClock, asked: int) -> None:
    """Also those of a reactor that never asked for signals."""
    heard: list[int] = []

    def handler(number: int, _frame: object) -> None:
        heard.append(number)

    signal.signal(ONE, handler)
    with socket.socket() as mine:
        mine.setblocking(False)
        before = signal.set_wakeup_fd(mine.fileno())
        descriptors = set(os.listdir("/dev/fd"))
        try:
            reactor = Reactor(clock)
            for _ in range(asked):
                reactor.on_signals([ONE], nothing)
            assert (signal.getsignal(ONE) is handler) is not bool(asked)
            reactor.close()
            assert signal.set_wakeup_fd(-1) == mine.fileno()
        finally:
            signal.set_wakeup_fd(before)
        assert set(os.listdir("/dev/fd")) == descriptors
    assert signal.getsignal(ONE) is handler
    signal.raise_signal(ONE)
    assert heard == [ONE]


# -- those who can wait


def test_those_who_can_wait_come_last_in_turns(reactor: Reactor, pair: Pair, call: Calls) -> None:
    """However many of them are always ready, and in whichever order the system tells them."""
    reactor.patient_per_turn = 10
    count = 3 * reactor.patient_per_turn + 1
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


def test_what_becomes_ready_while_others_are_served_is_served_in_the_same_turn(
    reactor: Reactor, pair: Pair, call: Calls
) -> None:
    """But nothing twice, though both are ready all the time; and hooks come behind both."""
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def first() -> None:
            call("first")()
            theirs.send(b"x")

        reactor.watch_read(ours.fileno(), call("meanwhile"))
        reactor.watch_read(ready_socket(pair), first)
        reactor.before_wait(call("hook"))
        for _ in range(2):
            call.made.clear()
            reactor.turn(0)
            assert sorted(call.made[:2]) == ["first", "meanwhile"]
            assert call.made[2:] == ["hook"]


def test_second_look_is_not_for_those_who_can_wait(
    reactor: Reactor, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float | None] = []
    select = reactor._selector.select

    def look(timeout: float | None = None) -> object:
        looks.append(timeout)
        return select(timeout)

    monkeypatch.setattr(reactor._selector, "select", look)
    reactor.watch_read(ready_socket(pair), nothing, patient=True)
    reactor.turn(LONG)
    reactor.watch_read(pair[0].fileno(), nothing)
    reactor.turn(LONG)
    assert looks == [LONG, LONG, 0]


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


@pytest.mark.usefixtures("signals_as_before")
def test_fault_does_not_end_a_turn(
    reactor: Reactor, clock: FakeClock, pair: Pair, call: Calls
) -> None:
    """Whatever it is a method of answers for it."""
    broken = Broken(reactor)
    for callback in (broken.fail, call("hook")):
        reactor.before_wait(callback)
    for callback in (broken.fail, call("timer")):
        reactor.call_at(clock.now, callback)
    reactor.on_signals([ONE], broken.fail)
    signal.raise_signal(ONE)
    reactor.watch_write(pair[0].fileno(), partial(broken.fail))
    reactor.watch_write(pair[1].fileno(), call("write"))
    reactor.defer(broken.fail)
    reactor.turn()
    assert call.made == ["write", "timer", "hook"]
    assert broken.told == [broken] * 5


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_exception_of_which_nobody_is_told_ends_the_loop(
    reactor: Reactor, kind: type[BaseException]
) -> None:
    """Nobody deals with faults, or it is what ends a program."""

    def fail() -> None:
        raise kind

    if kind is not RuntimeError:
        Broken(reactor)
    reactor.defer(fail)
    with pytest.raises(kind):
        reactor.run()


def ready_socket(pair: Pair) -> int:
    pair[1].send(b"x")
    return pair[0].fileno()


def always_ready(_pair: Pair) -> int:
    return os.open(os.devnull, os.O_RDWR)


@pytest.mark.parametrize("ready", [ready_socket, always_ready])
def test_descriptor_whose_callback_fails_is_left_alone_for_a_while(
    reactor: Reactor, clock: FakeClock, pair: Pair, ready: Callable[[Pair], int]
) -> None:
    broken = Broken(reactor)
    descriptor = ready(pair)

    def calls_after(seconds: float) -> int:
        clock.advance(seconds)
        for _ in range(5):
            reactor.turn(0)
        return broken.calls

    reactor.watch_read(descriptor, broken.fail)
    assert calls_after(0) == 1
    # Even if somebody asks for it meanwhile.
    reactor.watch_read(descriptor, broken.fail)
    assert calls_after(Broken.PAUSE - 0.001) == 1
    assert calls_after(0.001) == 2
    reactor.unwatch(descriptor)
    assert calls_after(Broken.PAUSE) == 2
    # Each has a rest of its own.
    for calls in (3, 4):
        reactor.unwatch(descriptor)
        reactor.watch_read(descriptor, broken.fail)
        assert calls_after(0) == calls
        assert calls_after(Broken.PAUSE / 2) == calls
    assert calls_after(Broken.PAUSE / 2) == 5


def test_new_descriptor_with_the_number_of_one_that_failed_is_not_left_alone(
    reactor: Reactor, clock: FakeClock, call: Calls
) -> None:
    broken = Broken(reactor)
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
