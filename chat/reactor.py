"""The event loop: descriptors, timers, signals and deferred work on a single thread.

It knows descriptors and callbacks, and nothing of chat. One turn is, in this order:

    1. the hooks: what the last turn gathered is done at once
    2. the wait, until something is ready or the next timer is due
    3. the callbacks of the descriptors that are ready, each only if it is still watched: the one
       before may have unwatched it; last those that can wait, a few of them in turn
    4. the timers that are due
    5. one piece of deferred work

An exception that a callback lets out ends the loop, unless `on_fault` is there to deal with it. It
is told which object answers: the one that the callback is a method of.
"""

import heapq
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from chat.limits import PATIENT_PER_TURN

Callback = Callable[[], None]

OnFault = Callable[[object, Exception], float]
"""Told which object answers for a fault (None: nobody knows), and the fault. Says for how many
seconds a descriptor whose callback failed is left alone."""


class Timer:
    """A callback at a time of the monotonic clock; `cancel` may come at any time."""

    __slots__ = ("callback", "deadline")

    def __init__(self, deadline: float, callback: Callback) -> None:
        self.deadline = deadline
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: "Timer") -> bool:
        return self.deadline < other.deadline


class _Watch:
    """What is called when a descriptor can be read, and when it can be written. `patient`: others
    come first."""

    __slots__ = ("patient", "read", "write")

    def __init__(self) -> None:
        self.patient = False
        self.read: Callback | None = None
        self.write: Callback | None = None

    @property
    def events(self) -> int:
        return (selectors.EVENT_READ if self.read else 0) | (
            selectors.EVENT_WRITE if self.write else 0
        )


class Reactor:
    """See the module's text. `close` when done: it gives the signals back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.on_fault: OnFault | None = None
        self._selector = selectors.DefaultSelector()
        self._always_ready: dict[int, _Watch] = {}
        self._resting: dict[int, _Watch] = {}
        self._patient_served = 0
        self._timers: list[Timer] = []
        self._deferred: deque[Callback] = deque()
        self._hooks: list[Callback] = []
        self._running = False
        self._stopping = False
        self._signals: dict[int, Callback] = {}
        self._old_handlers: dict[int, signal._HANDLER] = {}
        self._old_wakeup: int | None = None
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    # -- descriptors

    def watch_read(self, descriptor: int, callback: Callback | None, patient: bool = False) -> None:
        """Call when the descriptor can be read, or no longer (None). `patient`: those that are not
        are served in every turn, and of those that are, a few."""
        watch = self._watch_of(descriptor)
        watch.read = callback
        watch.patient = patient
        self._apply(descriptor, watch)

    def watch_write(self, descriptor: int, callback: Callback | None) -> None:
        """Call when the descriptor can be written, or no longer (None)."""
        watch = self._watch_of(descriptor)
        watch.write = callback
        self._apply(descriptor, watch)

    def unwatch(self, descriptor: int) -> None:
        """Forget the descriptor; must come before it is closed. Harmless when it is not watched."""
        watch = self._watch_of(descriptor)
        # This turn may still hold it in its hand.
        watch.read = watch.write = None
        self._apply(descriptor, watch)

    def _watch_of(self, descriptor: int) -> _Watch:
        for watches in (self._always_ready, self._resting):
            if descriptor in watches:
                return watches[descriptor]
        key = self._selector.get_map().get(descriptor)
        return key.data if key else _Watch()

    def _apply(self, descriptor: int, watch: _Watch) -> None:
        registered = descriptor in self._selector.get_map()
        if not watch.events:
            self._always_ready.pop(descriptor, None)
            self._resting.pop(descriptor, None)
            if registered:
                self._selector.unregister(descriptor)
        elif descriptor in self._resting:
            return
        elif registered:
            self._selector.modify(descriptor, watch.events, watch)
        elif descriptor not in self._always_ready:
            try:
                self._selector.register(descriptor, watch.events, watch)
            except PermissionError:
                # epoll does not take regular files and /dev/null, which are always ready.
                self._always_ready[descriptor] = watch

    def _rest(self, descriptor: int, watch: _Watch, seconds: float) -> None:
        """A callback of this descriptor has failed. It may well fail again, and the descriptor stay
        ready, so leave both alone for a while instead of calling it over and over."""
        if not watch.events or descriptor in self._resting:
            return
        if self._always_ready.pop(descriptor, None) is None:
            self._selector.unregister(descriptor)
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
        """Call when its turn comes: one piece of deferred work a turn, in order."""
        self._deferred.append(callback)

    def before_wait(self, hook: Callback) -> None:
        """Call in every turn, before the wait."""
        self._hooks.append(hook)

    def on_signals(self, signals: Iterable[int], callback: Callback) -> None:
        """Call, as part of a turn, when one of these signals has arrived. One that we were started
        to ignore (`nohup`, a shell's background job) stays ignored."""
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
            old = signal.signal(signum, _noted)
            self._old_handlers.setdefault(signum, old if old is not None else signal.SIG_DFL)

    def _on_wakeup(self) -> None:
        assert self._wakeup is not None
        for signum in dict.fromkeys(self._wakeup[0].recv(4096)):
            if signum in self._signals:
                self._call(self._signals[signum])

    # -- running

    def run(self) -> None:
        """Take turns until `stop` is called."""
        self._running, self._stopping = True, False
        while self._running:
            self.turn()

    def stop(self) -> None:
        """Let `run` return at the end of this turn, which does not wait any more."""
        self._running, self._stopping = False, True

    def turn(self, timeout: float | None = None) -> None:
        """One turn. `timeout` bounds the wait, in seconds."""
        for hook in self._hooks:
            self._call(hook)
        patient = []
        for ready in self._wait(timeout):
            if ready[1].patient:
                patient.append(ready)
            else:
                self._serve(*ready)
        if patient:
            # What is left over is ready in the next turn as well, in the same order perhaps.
            start = self._patient_served % len(patient)
            served = (patient[start:] + patient[:start])[:PATIENT_PER_TURN]
            self._patient_served += len(served)
            for ready in served:
                self._serve(*ready)
        now = self.clock()
        while self._timers and self._timers[0].deadline <= now:
            callback = heapq.heappop(self._timers).callback
            if callback:
                self._call(callback)
        if self._deferred:
            self._call(self._deferred.popleft())

    def _serve(self, descriptor: int, watch: _Watch, events: int) -> None:
        pause = 0.0
        if events & selectors.EVENT_READ and watch.read:
            pause = self._call(watch.read)
        if events & selectors.EVENT_WRITE and watch.write and not pause:
            pause = self._call(watch.write)
        if pause:
            self._rest(descriptor, watch, pause)

    def _call(self, callback: Callback) -> float:
        """For how many seconds it should not be called again; 0 unless it failed."""
        try:
            callback()
        except Exception as fault:
            return self.contain(_answering_for(callback), fault)
        return 0.0

    def contain(self, answering: object, fault: Exception) -> float:
        """For an exception that nobody foresaw, caught where it does not harm others: let
        `on_fault` deal with it, or raise it if there is none."""
        if self.on_fault is None:
            raise fault
        return self.on_fault(answering, fault)

    def _wait(self, timeout: float | None) -> list[tuple[int, _Watch, int]]:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if self._always_ready or self._deferred or self._stopping:
            timeout = 0
        elif self._timers:
            until_timer = max(0.0, self._timers[0].deadline - self.clock())
            timeout = until_timer if timeout is None else min(timeout, until_timer)
        ready = [(key.fd, key.data, events) for key, events in self._selector.select(timeout)]
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


def _noted(_signum: int, _frame: object) -> None:
    """The wake-up socket carries the news; this only keeps the default action from happening."""
