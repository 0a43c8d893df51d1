"""The event loop: descriptors, timers, signals and deferred work on a single thread.

It knows descriptors and callbacks, and nothing of chat. One turn (`Reactor.turn`) is, in order:

    1. The wait, until a descriptor is ready or the next timer is due. It is the only place where
       the program blocks. There is no wait while deferred work is left.
    2. The callbacks of the ready descriptors: first those of members, say, then those that became
       ready meanwhile, then a few of the patient ones (`watch_read`). Each is called once.
    3. The timers that are due.
    4. One piece of deferred work.
    5. The hooks. What all these callbacks gathered is done here, all at once.

Why in this order: the hooks come last, directly before the next wait, or what they do would wait as
long. The second look in 2 comes before them, so that what many say leaves together, in one `send`
to each; in a flood that saves half of the sends. Descriptors come before timers, so that a peer
whose answer has arrived is not taken for dead. Deferred work is one piece a turn, so that it delays
everything else by one piece and no more.

What must hold:

- A callback may watch and unwatch any descriptor, its own as well. So the list of ready descriptors
  holds `_Watch` objects, `unwatch` empties the one it finds, and `_serve` looks into it before each
  call. If a closed number is opened again in the same turn, it gets a fresh `_Watch`.
- A descriptor is in one of three places: in `_selected`, which mirrors the selector, in
  `_always_ready` (the selector refuses regular files), or in `_resting` (its callback has failed,
  and is left alone for a while).
- An exception that a callback lets out goes to `on_fault`, together with the object that the
  callback is a method of. Without `on_fault` it ends the loop.
"""

import heapq
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

_WAKEUP_BYTES = 4096

Callback = Callable[[], None]

OnFault = Callable[[object, Exception], float]
"""Given the object that answers for a fault (None if that is unknown) and the fault. Returns for
how many seconds a descriptor whose callback failed is left alone."""


class Timer:
    """A callback at a time of the monotonic clock. `cancel` may be called at any time."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callback) -> None:
        self.deadline = deadline
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: "Timer") -> bool:
        return self.deadline < other.deadline


class _Watch:
    """The callbacks of one descriptor: for when it can be read, and for when it can be written.
    `patient`: others come first. `selected`: the events for which the selector has it, if any."""

    __slots__ = ("patient", "read", "selected", "write")

    def __init__(self) -> None:
        self.patient = False
        self.selected = 0
        self.read: Callback | None = None
        self.write: Callback | None = None

    @property
    def events(self) -> int:
        return (selectors.EVENT_READ if self.read else 0) | (
            selectors.EVENT_WRITE if self.write else 0
        )


_Ready = tuple[int, _Watch, int]
"""A descriptor, its watch, and the events for which it is ready."""


class Reactor:
    """The loop; the module's text says how it turns. `close` it in the end: signals are given back.

    `patient_per_turn` is how many of the patient descriptors are served in one turn; None: all.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.on_fault: OnFault | None = None
        self.patient_per_turn: int | None = None
        self._selector = selectors.DefaultSelector()
        self._selected: dict[int, _Watch] = {}
        self._always_ready: dict[int, _Watch] = {}
        self._resting: dict[int, _Watch] = {}
        self._patient_served = 0
        self._timers: list[Timer] = []
        self._deferred: deque[Callback] = deque()
        self._hooks: list[Callback] = []
        self._running = False
        self._signals: dict[int, Callback] = {}
        self._noted: set[int] = set()
        """The signals of which the wake-up socket tells, or would tell if it had room: it may be
        full of others."""
        self._arrived: list[int] = []
        """Those of which it has told, and of which the callbacks are still to be called."""
        self._old_handlers: dict[int, signal._HANDLER] = {}
        self._old_wakeup: int | None = None
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    # -- descriptors

    def watch_read(self, descriptor: int, callback: Callback | None, patient: bool = False) -> None:
        """Call when the descriptor can be read; None: not any more. A `patient` descriptor is
        served after those that are not, and not in every turn (`patient_per_turn`)."""
        watch = self._watch_of(descriptor)
        watch.read = callback
        watch.patient = patient
        self._apply(descriptor, watch)

    def watch_write(self, descriptor: int, callback: Callback | None) -> None:
        """Call when the descriptor can be written; None: not any more."""
        watch = self._watch_of(descriptor)
        watch.write = callback
        self._apply(descriptor, watch)

    def unwatch(self, descriptor: int) -> None:
        """Forget the descriptor. Must come before it is closed; harmless if it is not watched."""
        watch = self._watch_of(descriptor)
        # The current turn may still have a ready event for it.
        watch.read = watch.write = None
        self._apply(descriptor, watch)

    def _watch_of(self, descriptor: int) -> _Watch:
        for watches in (self._selected, self._always_ready, self._resting):
            if descriptor in watches:
                return watches[descriptor]
        return _Watch()

    def _apply(self, descriptor: int, watch: _Watch) -> None:
        events = watch.events
        if not events:
            self._always_ready.pop(descriptor, None)
            self._resting.pop(descriptor, None)
            if watch.selected:
                self._unselect(descriptor, watch)
        elif watch.selected:
            if watch.selected != events:
                self._selector.modify(descriptor, events, watch)
                watch.selected = events
        elif descriptor not in self._resting and descriptor not in self._always_ready:
            self._select(descriptor, watch)

    def _select(self, descriptor: int, watch: _Watch) -> None:
        try:
            self._selector.register(descriptor, watch.events, watch)
        except PermissionError:
            # epoll refuses regular files and /dev/null, which are always ready.
            self._always_ready[descriptor] = watch
        else:
            self._selected[descriptor] = watch
            watch.selected = watch.events

    def _unselect(self, descriptor: int, watch: _Watch) -> None:
        self._selector.unregister(descriptor)
        del self._selected[descriptor]
        watch.selected = 0

    def _rest(self, descriptor: int, watch: _Watch, seconds: float) -> None:
        """Leave a descriptor alone whose callback has failed: it stays ready, and the callback
        would fail again in every turn."""
        if not watch.events or descriptor in self._resting:
            return
        if self._always_ready.pop(descriptor, None) is None:
            self._unselect(descriptor, watch)
        self._resting[descriptor] = watch
        self.call_at(self.clock() + seconds, partial(self._end_rest, descriptor, watch))

    def _end_rest(self, descriptor: int, watch: _Watch) -> None:
        if self._resting.get(descriptor) is watch:
            del self._resting[descriptor]
            self._apply(descriptor, watch)

    # -- time, work, signals

    def call_at(self, deadline: float, callback: Callback) -> Timer:
        """Call once, when the clock has reached `deadline`."""
        timer = Timer(deadline, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def defer(self, callback: Callback) -> None:
        """Call in one of the next turns: one piece of deferred work a turn, in order."""
        self._deferred.append(callback)

    def before_wait(self, hook: Callback) -> None:
        """Call at the end of every turn, directly before the next wait."""
        self._hooks.append(hook)

    def on_signals(self, signals: Iterable[int], callback: Callback) -> None:
        """Call, as part of a turn, when one of these signals has arrived. A signal that the program
        was started to ignore (`nohup`, a shell's background job) stays ignored."""
        if self._wakeup is None:
            self._wakeup = socket.socketpair()
            for end in self._wakeup:
                end.setblocking(False)
            self.watch_read(self._wakeup[0].fileno(), self._on_wakeup)
            self._old_wakeup = signal.set_wakeup_fd(
                self._wakeup[1].fileno(), warn_on_full_buffer=False
            )
        for signum in signals:
            if signal.getsignal(signum) is signal.SIG_IGN:
                continue
            self._signals[signum] = callback
            old = signal.signal(signum, self._note)
            self._old_handlers.setdefault(signum, old if old is not None else signal.SIG_DFL)

    def has_arrived(self, signum: int) -> bool:
        """Whether this signal has arrived, and its callback is still to be called."""
        if self._wakeup is None:
            return False
        return signum in self._untold() or signum in self._noted or signum in self._arrived

    def _note(self, signum: int, _frame: object) -> None:
        self._noted.add(signum)

    def _untold(self) -> bytes:
        """What the wake-up socket still has to tell."""
        assert self._wakeup is not None
        with suppress(BlockingIOError):
            return self._wakeup[0].recv(_WAKEUP_BYTES, socket.MSG_PEEK)
        return b""

    def _on_wakeup(self) -> None:
        assert self._wakeup is not None
        told = self._wakeup[0].recv(_WAKEUP_BYTES)
        # A signal that arrives from here on is still untold, and not missing.
        noted, self._noted = self._noted.difference(told), set()
        missing = noted.difference(self._untold())
        # Of each the last one counts: whoever is told to go on, to stop and to go on goes on.
        self._arrived = list(dict.fromkeys(reversed([*told, *missing])))
        while self._arrived:
            if callback := self._signals.get(self._arrived.pop()):
                self.call(callback)

    # -- running

    def run(self) -> None:
        """Take turns until `stop` is called."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """Let `run` return at the end of this turn."""
        self._running = False

    def turn(self, timeout: float | None = None) -> None:
        """One turn, as the module's text says. `timeout` bounds the wait, in seconds."""
        patient = []
        for ready in self._ready(timeout):
            if ready[1].patient:
                patient.append(ready)
            else:
                self._serve(*ready)
        for ready in self._some_of(patient):
            self._serve(*ready)
        now = self.clock()
        while self._timers and self._timers[0].deadline <= now:
            callback = heapq.heappop(self._timers).callback
            if callback:
                self.call(callback)
        if self._deferred:
            self.call(self._deferred.popleft())
        for hook in self._hooks:
            self.call(hook)

    def _ready(self, timeout: float | None) -> Iterator[_Ready]:
        """Wait for what is ready. When that has been served, look once for what became ready
        meanwhile, but no descriptor comes twice. If none but patient ones were ready, nobody says
        anything that others could leave with."""
        first = self._wait(timeout)
        yield from first
        if any(not watch.patient for _, watch, _ in first):
            served = {descriptor for descriptor, _, _ in first}
            yield from (ready for ready in self._wait(0) if ready[0] not in served)

    def _some_of(self, patient: list[_Ready]) -> list[_Ready]:
        """Those of the patient descriptors whose turn it is. The others are ready in the next turn
        as well, perhaps in the same order, so each turn begins where the last one stopped."""
        if not patient or self.patient_per_turn is None:
            return patient
        start = self._patient_served % len(patient)
        served = (patient[start:] + patient[:start])[: self.patient_per_turn]
        self._patient_served += len(served)
        return served

    def _serve(self, descriptor: int, watch: _Watch, events: int) -> None:
        pause = 0.0
        if events & selectors.EVENT_READ and watch.read:
            pause = self.call(watch.read)
        if events & selectors.EVENT_WRITE and watch.write and not pause:
            pause = self.call(watch.write)
        if pause:
            self._rest(descriptor, watch, pause)

    def call(self, callback: Callback) -> float:
        """Call now, and keep an exception from whoever calls: it goes to `on_fault`. Returns for
        how many seconds to leave the callback alone, which is 0 unless it failed."""
        try:
            callback()
        except Exception as fault:
            return self.contain(_answering_for(callback), fault)
        return 0.0

    def contain(self, answering: object, fault: Exception) -> float:
        """Give an exception that nobody foresaw to `on_fault`, or raise it if there is none."""
        if self.on_fault is None:
            raise fault
        return self.on_fault(answering, fault)

    def _wait(self, timeout: float | None) -> list[_Ready]:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if self._always_ready or self._deferred:
            timeout = 0
        elif self._timers:
            until_timer = max(0.0, self._timers[0].deadline - self.clock())
            timeout = until_timer if timeout is None else min(timeout, until_timer)
        selected = self._selector.select(timeout)
        if not selected and timeout:
            # If the process was stopped (SIGSTOP) until the time was up, the selector has not
            # looked at what arrived meanwhile.
            selected = self._selector.select(0)
        ready = [(key.fd, key.data, events) for key, events in selected]
        ready += [(number, watch, watch.events) for number, watch in self._always_ready.items()]
        return ready

    def close(self) -> None:
        """Give back signals and descriptors."""
        self.give_back_signals()
        self._selector.close()

    def give_back_signals(self) -> None:
        """Let signals do again what they did before `on_signals`."""
        if self._wakeup is not None:
            signal.set_wakeup_fd(self._old_wakeup if self._old_wakeup is not None else -1)
            for signum, handler in self._old_handlers.items():
                signal.signal(signum, handler)
            self.unwatch(self._wakeup[0].fileno())
            for end in self._wakeup:
                end.close()
            self._wakeup = None


def _answering_for(callback: Callback) -> object:
    while isinstance(callback, partial):
        callback = callback.func
    return getattr(callback, "__self__", None)


def do_nothing() -> None:
    """The callback of somebody who need not be called."""


class WakeUp:
    """Ends the wait at a time that may be moved. A hook does what is due then, or `callback`.

    A time that is moved back, as most are again and again, takes no other timer: the one that there
    is finds that it is too early. Otherwise each would stay in the heap until it is due."""

    def __init__(self, reactor: Reactor, callback: Callable[[], None] = do_nothing) -> None:
        self._reactor = reactor
        self._callback = callback
        self._deadline: float | None = None
        self._timer: Timer | None = None

    def set(self, deadline: float | None) -> None:
        """Wake up at `deadline`, and not at the one before; None: not at all."""
        self._deadline = deadline
        timer = self._timer
        if timer is not None:
            if deadline is not None and timer.deadline <= deadline:
                return
            timer.cancel()
        self._timer = None if deadline is None else self._reactor.call_at(deadline, self._end)

    def _end(self) -> None:
        # What is due now may be due still, when not all of it is done in one turn. Then the same
        # time is set again, which has to end the next wait as well.
        timer, self._timer = self._timer, None
        assert timer is not None
        if self._deadline != timer.deadline:
            self.set(self._deadline)
        else:
            self._callback()
