"""When to dial again, and at which server.

One server is dialled again and again, after waits that grow. Several servers take turns, and only
between two rounds is the wait longer each time. If a server does not want us, what it said is kept
until the round is over. Whether to dial again at all is the client's decision.
"""

import random
from collections.abc import Callable

from chat import journal
from chat.limits import MAX_RETRY_SECONDS, RETRY_SECONDS
from chat.place import Endpoint
from chat.reactor import Reactor, Timer
from chat.sockets import Way


class Redial:
    """The dials of one stay.

    `_wait` is the timer for the next dial, and None unless we wait for one; `_seconds` is how long
    to wait after this round. `_verdict` ends the stay as it would have ended if a server that does
    not want us were the only one. It is called when the round is over, and forgotten as soon as
    another server would have us.
    """

    def __init__(self, reactor: Reactor, dialer: Way, dial: Callable[[], None]) -> None:
        """`dial` is called whenever it is time to; it has the dialer dial."""
        self._reactor = reactor
        self._dialer = dialer
        self._dial = dial
        self._wait: Timer | None = None
        self._seconds = RETRY_SECONDS
        self._verdict: Callable[[], None] | None = None
        self._home: Endpoint | None = None
        """The server that let us in last."""

    def now(self) -> None:
        """Dial, and wait no longer."""
        self._stop_waiting()
        self._dial()

    def now_if_waiting(self) -> None:
        """If we wait to dial again, wait no longer."""
        if self._wait is not None:
            self.now()

    def later(self) -> None:
        """Dial after a while. But if the round is over, and a server did not want us, end the stay
        with what that server said."""
        seconds = RETRY_SECONDS
        if not self._dialer.has_next:
            if self._verdict is not None:
                self._verdict()
                return
            seconds = self._seconds
            self._seconds = min(2 * seconds, MAX_RETRY_SECONDS)
        # Clients that lost the connection together must not come back together.
        delay = seconds * random.uniform(0.5, 1.0)
        journal.note("client", f"tries again in {delay:.3f} s")
        self._wait = self._reactor.call_at(self._reactor.clock() + delay, self.now)

    def be_quick(self) -> None:
        """From now on the waits are short again."""
        self._seconds = RETRY_SECONDS

    def pass_over(self, verdict: Callable[[], None], *, is_refusal: bool) -> bool:
        """The server that answered does not want us. Returns whether another one has its turn now.
        Then `verdict` is kept; a refusal counts for more than what else was said."""
        if not self._dialer.pass_over():
            return False
        if self._verdict is None or is_refusal:
            self._verdict = verdict
        return True

    def forget_verdict(self) -> None:
        """A server has answered that would have us, so what others said does not count."""
        self._verdict = None

    def settle(self) -> str:
        """We are in. Returns the address of the server if we were at another one before, and else
        an empty text."""
        self.forget_verdict()
        self._dialer.settle()
        before, self._home = self._home, self._dialer.server
        return self._home.text if before not in (None, self._home) else ""

    def stop(self) -> None:
        """Dial no more."""
        self._dialer.close()
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
