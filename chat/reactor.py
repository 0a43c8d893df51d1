"""The event loop: descriptors, timers, signals and deferred work on a single thread.

It knows descriptors and callbacks, and nothing of chat. One turn is, in this order:

    1. the hooks: what the last turn gathered is done at once
    2. the wait, until something is ready or the next timer is due
    3. the callbacks of the descriptors that are ready, each only if it is still watched: the one
       before may have unwatched it
    4. the timers that are due
    5. one piece of deferred work
"""

import heapq
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable

Callback = Callable[[], None]


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
    """What is called when a descriptor can be read, and when it can be written."""

    __slots__ = ("read", "write")

    def __init__(self) -> None:
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
        self._selector = selectors.DefaultSelector()
        self._always_ready: dict[int, _Watch] = {}
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

    def watch_read(self, descriptor: int, callback: Callback | None) -> None:
        """Call when the descriptor can be read, or no longer (None)."""
        watch = self._watch_of(descriptor)
        watch.read = callback
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
        if descriptor in self._always_ready:
            return self._always_ready[descriptor]
        key = self._selector.get_map().get(descriptor)
        return key.data if key else _Watch()

    def _apply(self, descriptor: int, watch: _Watch) -> None:
        registered = descriptor in self._selector.get_map()
        if not watch.events:
            self._always_ready.pop(descriptor, None)
            if registered:
                self._selector.unregister(descriptor)
        elif registered:
            self._selector.modify(descriptor, watch.events, watch)
        elif descriptor not in self._always_ready:
            try:
                self._selector.register(descriptor, watch.events, watch)
            except PermissionError:
                # epoll does not take regular files and /dev/null, which are always ready.
                self._always_ready[descriptor] = watch

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
                self._signals[signum]()

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
            hook()
        for watch, events in self._wait(timeout):
            if events & selectors.EVENT_READ and watch.read:
                watch.read()
            if events & selectors.EVENT_WRITE and watch.write:
                watch.write()
        now = self.clock()
        while self._timers and self._timers[0].deadline <= now:
            callback = heapq.heappop(self._timers).callback
            if callback:
                callback()
        if self._deferred:
            self._deferred.popleft()()

    def _wait(self, timeout: float | None) -> list[tuple[_Watch, int]]:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if self._always_ready or self._deferred or self._stopping:
            timeout = 0
        elif self._timers:
            until_timer = max(0.0, self._timers[0].deadline - self.clock())
            timeout = until_timer if timeout is None else min(timeout, until_timer)
        ready = [(key.data, events) for key, events in self._selector.select(timeout)]
        ready += [(watch, watch.events) for watch in self._always_ready.values()]
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


def _noted(_signum: int, _frame: object) -> None:
    """The wake-up socket carries the news; this only keeps the default action from happening."""
