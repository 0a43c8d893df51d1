"""Budgets: how much one key, and how much all keys of one source together, may ask of the server.

A connection is cheap and a name is free, so neither has a budget of its own. All connections of a
key draw on the key's budget, whatever names they use. Keys are free as well, so the connections of
a source (an IPv4 address, an IPv6 /64) also draw on the source's. A budget outlives its connections
until it is full again. Three things are counted, each by a token bucket:

    messages   messages, and every other frame
    arrivals   joins and resumes, and what is sent a second time because of a resume
    share      bytes read for the log's window, while some member may come back and still need it

This module is told the time. What happens to a connection that is over budget is decided by
`Connection`: it reads later and comes in later, and nothing that was said is dropped.
"""

from collections.abc import Hashable
from itertools import islice

from chat.frozen import frozen
from chat.limits import (
    ARRIVALS_AT_ONCE,
    ARRIVALS_PER_SECOND,
    MAX_HOLD_SECONDS,
    MAX_RATED_READ_BYTES,
    MAX_UNUSED_BUDGETS,
    MIN_RATED_READ_BYTES,
    RATE_BURST_SECONDS,
    RATE_UNIT_BYTES,
    READS_PER_HOLD,
    RESENT_BYTES_PER_ARRIVAL,
    SHARE_REFILL_SECONDS,
    SOURCE_ARRIVALS_AT_ONCE,
    SOURCE_ARRIVALS_PER_SECOND,
    SOURCE_RATE_FACTOR,
    VOID_COST,
    WINDOW_SHARE_OF_KEY,
    WINDOW_SHARE_OF_SOURCE,
)

_FULL = float("-inf")


class TokenBucket:
    """Fills with `rate` tokens a second, up to `burst`. It may be overdrawn, and is repaid then.

    All state of a bucket is one time, `repaid_at`: then it holds no token and owes none. Before
    that it is overdrawn, and `burst / rate` seconds after it the bucket is full. Whoever has a
    bucket keeps that time and nothing else: there are three of them for every key.
    """

    __slots__ = ("_burst_seconds", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst_seconds = burst / rate

    def spend(self, repaid_at: float, cost: float, now: float) -> float:
        """When the bucket is repaid if `cost` tokens are taken from it now."""
        return max(repaid_at, now - self._burst_seconds) + cost / self._rate

    def is_full(self, repaid_at: float, now: float) -> bool:
        """Whether it is as if nothing had ever been taken."""
        return repaid_at <= now - self._burst_seconds


@frozen
class Allowance:
    """What a budget grants: of each thing how many a second, and how many at once."""

    messages: TokenBucket
    arrivals: TokenBucket
    share: TokenBucket


class Budget:
    """What one owner, a key or a source, has left: when each of its buckets is repaid. So many
    `connections` draw on it."""

    __slots__ = ("_allowance", "arrivals", "connections", "messages", "next_read", "owner", "share")

    def __init__(self, owner: Hashable, allowance: Allowance, now: float) -> None:
        self.owner = owner
        self.connections = 0
        self.messages = self.arrivals = self.share = _FULL
        self.next_read = now
        self._allowance = allowance

    def is_full(self, now: float) -> bool:
        """Whether a new budget would be the same."""
        allowed = self._allowance
        return (
            allowed.messages.is_full(self.messages, now)
            and allowed.arrivals.is_full(self.arrivals, now)
            and allowed.share.is_full(self.share, now)
        )

    def spend_messages(self, cost: float, now: float) -> None:
        """Take so many messages."""
        self.messages = self._allowance.messages.spend(self.messages, cost, now)

    def spend_arrivals(self, cost: float, now: float) -> float:
        """Take so many arrivals. Returns for how many seconds they are overdrawn now."""
        self.arrivals = self._allowance.arrivals.spend(self.arrivals, cost, now)
        return max(0.0, self.arrivals - now)

    def spend_share(self, size: int, now: float) -> None:
        """Take so many bytes of the window."""
        self.share = self._allowance.share.spend(self.share, size, now)


class Account:
    """One connection's account: what it does is charged to its key's budget and its source's."""

    __slots__ = ("_key", "_source")

    def __init__(self, key: Budget, source: Budget) -> None:
        self._key = key
        self._source = source

    @property
    def budgets(self) -> tuple[Budget, Budget]:
        return self._key, self._source

    def arrive(self, now: float) -> float:
        """Charge a join or a resume. Returns for how many seconds it must wait."""
        return max(budget.spend_arrivals(1, now) for budget in self.budgets)

    def take_back_arrival(self, now: float) -> None:
        """The arrival does not take place, since it would have to wait too long."""
        for budget in self.budgets:
            budget.spend_arrivals(-1, now)

    def resend(self, size: int, now: float) -> None:
        """Charge bytes that a member is sent a second time. Later arrivals wait for that."""
        for budget in self.budgets:
            budget.spend_arrivals(size / RESENT_BYTES_PER_ARRIVAL, now)

    def say(self, frames: int, size: int, now: float, *, void: int = 0) -> None:
        """Charge so many frames, or `size` bytes if that costs more; and a little for `void` bytes
        that were dropped."""
        cost = max(frames, size / RATE_UNIT_BYTES) + VOID_COST * void / RATE_UNIT_BYTES
        self._key.spend_messages(cost, now)
        self._source.spend_messages(cost, now)

    def fill_window(self, size: int, now: float) -> None:
        """Charge bytes that, once they are in the log, push out what a member may come back for."""
        self._key.spend_share(size, now)
        self._source.spend_share(size, now)

    def hold_seconds(self, now: float, *, window_guarded: bool) -> float:
        """For how long nothing more should be read from this connection. `window_guarded`: its part
        of the window counts now.

        A pause must be short enough for PINGs to be answered, so it is sometimes shorter than the
        debt. Then a key's connections take turns, and many of them get no further than a few.
        """
        key, source = self._key, self._source
        repaid_at = max(now, key.messages, source.messages)
        if window_guarded:
            repaid_at = max(repaid_at, key.share, source.share)
        if repaid_at <= now + MAX_HOLD_SECONDS:
            return repaid_at - now
        turn = key.next_read + MAX_HOLD_SECONDS / READS_PER_HOLD
        key.next_read = max(now + MAX_HOLD_SECONDS, turn)
        return key.next_read - now


class Budgets:
    """The budgets of all keys and sources.

    Invariant: `_unused` holds those of `_budgets` on which no connection draws, and first the one
    that has been unused for longest.
    """

    def __init__(self, rate: float, grace_seconds: float, window_bytes: int) -> None:
        """`rate`: messages a second of one key. A member may come back to the window, which has
        `window_bytes`, for `grace_seconds`."""
        # Four reads in the longest pause must not bring more than the rate allows in it.
        at_once = rate * MAX_HOLD_SECONDS / READS_PER_HOLD * MIN_RATED_READ_BYTES
        self.read_bytes = min(max(MIN_RATED_READ_BYTES, int(at_once)), MAX_RATED_READ_BYTES)
        """How much of a connection may be read at a time."""
        # A full bucket, and what flows in during one refill, together make up the share.
        refill = min(max(grace_seconds, 1.0), SHARE_REFILL_SECONDS)
        of_key = window_bytes * WINDOW_SHARE_OF_KEY / 2
        of_source = window_bytes * WINDOW_SHARE_OF_SOURCE / 2
        source_rate = rate * SOURCE_RATE_FACTOR
        self._of_key = Allowance(
            messages=TokenBucket(rate, rate * RATE_BURST_SECONDS),
            arrivals=TokenBucket(ARRIVALS_PER_SECOND, ARRIVALS_AT_ONCE),
            share=TokenBucket(of_key / refill, of_key),
        )
        self._of_source = Allowance(
            messages=TokenBucket(source_rate, source_rate * RATE_BURST_SECONDS),
            arrivals=TokenBucket(SOURCE_ARRIVALS_PER_SECOND, SOURCE_ARRIVALS_AT_ONCE),
            share=TokenBucket(of_source / refill, of_source),
        )
        self._budgets: dict[Hashable, Budget] = {}
        self._unused: dict[Hashable, Budget] = {}

    def __len__(self) -> int:
        return len(self._budgets)

    def open(self, key: bytes, source: str, now: float) -> Account:
        """An account for a connection of this key from this source; `close` it with that."""
        return Account(
            self._draw_on(key, self._of_key, now), self._draw_on(source, self._of_source, now)
        )

    def close(self, account: Account, now: float) -> None:
        """The connection is gone. Its budgets are kept until they are repaid."""
        for budget in account.budgets:
            budget.connections -= 1
            if not budget.connections:
                self._unused[budget.owner] = budget
                self._forget_some(now)

    def _draw_on(self, owner: Hashable, allowance: Allowance, now: float) -> Budget:
        budget = self._budgets.get(owner)
        if budget is None:
            budget = self._budgets[owner] = Budget(owner, allowance, now)
        self._unused.pop(owner, None)
        budget.connections += 1
        return budget

    def _forget_some(self, now: float) -> None:
        """Forget those of the two longest unused budgets that are full. Since only one is added at
        a time, the others are all that have something to repay."""
        for owner in list(islice(self._unused, 2)):
            budget = self._unused.pop(owner)
            if budget.is_full(now) or len(self._unused) >= MAX_UNUSED_BUDGETS:
                del self._budgets[owner]
            else:
                self._unused[owner] = budget
