"""Budgets: how much one key, and how much all keys of one source together, may ask of the server.

A connection is cheap and a name is free, so neither of them has a budget of its own: all
connections of a key draw on the key's, whatever they are called, and those of a source (an IPv4
address, an IPv6 /64) on the source's, too, since keys are free as well. A budget outlives its
connections until it is full again. Three things are counted, each by a token bucket:

    messages   what is said, and every other frame
    arrivals   joins and resumes, and what a resume has sent a second time
    share      bytes of the log's window, as long as somebody may still come back and ask for it

Pure: the time comes in. What becomes of who is over budget is the server's business: it reads and
admits later, and drops nothing of what was said.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice

from chat.limits import (
    ARRIVALS_AT_ONCE,
    ARRIVALS_PER_SECOND,
    MAX_HOLD_SECONDS,
    MAX_UNUSED_BUDGETS,
    RATE_BURST_SECONDS,
    RATE_UNIT_BYTES,
    READS_PER_HOLD,
    RESENT_BYTES_PER_ARRIVAL,
    SHARE_REFILL_SECONDS,
    SOURCE_ARRIVALS_AT_ONCE,
    SOURCE_ARRIVALS_PER_SECOND,
    SOURCE_RATE_FACTOR,
    WINDOW_SHARE_OF_KEY,
    WINDOW_SHARE_OF_SOURCE,
)


class TokenBucket:
    """Fills with `rate` tokens a second up to `burst`; an overdraft takes time to repay.

    All that it keeps is when it would be empty, neither more nor less: `repaid_at`. The bucket is
    full when that is `burst / rate` seconds ago, and overdrawn until it has come.
    """

    __slots__ = ("_burst_seconds", "_rate", "repaid_at")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst_seconds = burst / rate
        self.repaid_at = now - self._burst_seconds

    def spend(self, cost: float, now: float) -> float:
        """Take `cost` tokens; returns for how many seconds nothing more should be taken."""
        self.repaid_at = max(self.repaid_at, now - self._burst_seconds) + cost / self._rate
        return max(0.0, self.repaid_at - now)

    def is_full(self, now: float) -> bool:
        """Whether it is as good as new."""
        return self.repaid_at <= now - self._burst_seconds


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a budget grants: of each thing so many a second, and so many at once."""

    messages: float
    messages_at_once: float
    arrivals: float
    arrivals_at_once: float
    share: float
    share_at_once: float


class Budget:
    """What one owner, a key or a source, has left. `connections` draw on it."""

    __slots__ = ("arrivals", "connections", "messages", "next_read", "owner", "share")

    def __init__(self, owner: Hashable, allowance: Allowance, now: float) -> None:
        self.owner = owner
        self.connections = 0
        self.messages = TokenBucket(allowance.messages, allowance.messages_at_once, now)
        self.arrivals = TokenBucket(allowance.arrivals, allowance.arrivals_at_once, now)
        self.share = TokenBucket(allowance.share, allowance.share_at_once, now)
        self.next_read = now

    def is_full(self, now: float) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return all(bucket.is_full(now) for bucket in (self.messages, self.arrivals, self.share))


class Account:
    """Where one connection's doings are charged: to its key's budget and to its source's."""

    __slots__ = ("_key", "_source")

    def __init__(self, key: Budget, source: Budget) -> None:
        self._key = key
        self._source = source

    @property
    def budgets(self) -> tuple[Budget, Budget]:
        return self._key, self._source

    def arrive(self, now: float) -> float:
        """Charge a join or a resume; returns for how many seconds it must wait."""
        return max(budget.arrivals.spend(1, now) for budget in self.budgets)

    def take_back_arrival(self, now: float) -> None:
        """The arrival does not take place: it would have to wait too long."""
        for budget in self.budgets:
            budget.arrivals.spend(-1, now)

    def resend(self, size: int, now: float) -> None:
        """Charge bytes that a resume has sent a second time: later arrivals wait for it."""
        for budget in self.budgets:
            budget.arrivals.spend(size / RESENT_BYTES_PER_ARRIVAL, now)

    def say(self, frames: int, size: int, now: float) -> None:
        """Charge so many frames, or bytes if that is more."""
        cost = max(frames, size / RATE_UNIT_BYTES)
        self._key.messages.spend(cost, now)
        self._source.messages.spend(cost, now)

    def fill_window(self, size: int, now: float) -> None:
        """Charge bytes of the log that push out what somebody may still come back for."""
        self._key.share.spend(size, now)
        self._source.share.spend(size, now)

    def hold_seconds(self, now: float, *, window_guarded: bool) -> float:
        """For how long nothing more should be read of this connection; `window_guarded` is whether
        its part of the window counts now.

        A pause is short enough for PINGs to be answered, even where it does not pay the debt.
        Then a key's connections take turns, so that many of them get no further than a few.
        """
        key, source = self._key, self._source
        repaid_at = max(now, key.messages.repaid_at, source.messages.repaid_at)
        if window_guarded:
            repaid_at = max(repaid_at, key.share.repaid_at, source.share.repaid_at)
        if repaid_at <= now + MAX_HOLD_SECONDS:
            return repaid_at - now
        turn = key.next_read + MAX_HOLD_SECONDS / READS_PER_HOLD
        key.next_read = max(now + MAX_HOLD_SECONDS, turn)
        return key.next_read - now


class Budgets:
    """The budgets of all keys and sources.

    Invariant: `_unused` holds those of `_budgets` that no connection draws on, longest first.
    """

    def __init__(self, rate: float, grace_seconds: float, window_bytes: int) -> None:
        """`rate`: messages a second of one key. Nobody may come back after `grace_seconds` to a
        window of `window_bytes`."""
        # What is at once in the bucket, and what flows in during one refill, make up the share.
        refill = min(max(grace_seconds, 1.0), SHARE_REFILL_SECONDS)
        of_key = window_bytes * WINDOW_SHARE_OF_KEY / 2
        of_source = window_bytes * WINDOW_SHARE_OF_SOURCE / 2
        source_rate = rate * SOURCE_RATE_FACTOR
        self._of_key = Allowance(
            messages=rate,
            messages_at_once=rate * RATE_BURST_SECONDS,
            arrivals=ARRIVALS_PER_SECOND,
            arrivals_at_once=ARRIVALS_AT_ONCE,
            share=of_key / refill,
            share_at_once=of_key,
        )
        self._of_source = Allowance(
            messages=source_rate,
            messages_at_once=source_rate * RATE_BURST_SECONDS,
            arrivals=SOURCE_ARRIVALS_PER_SECOND,
            arrivals_at_once=SOURCE_ARRIVALS_AT_ONCE,
            share=of_source / refill,
            share_at_once=of_source,
        )
        self._budgets: dict[Hashable, Budget] = {}
        self._unused: dict[Hashable, Budget] = {}

    def __len__(self) -> int:
        return len(self._budgets)

    def open(self, key: bytes, source: str, now: float) -> Account:
        """An account for a connection of this key from this source, to be closed with it."""
        return Account(
            self._draw_on(key, self._of_key, now), self._draw_on(source, self._of_source, now)
        )

    def close(self, account: Account, now: float) -> None:
        """The connection is gone. What it owes is kept until it is repaid."""
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
        """Look at the two that have been unused for longest. One is added at a time, so they do
        not become more than have something to repay."""
        for owner in list(islice(self._unused, 2)):
            budget = self._unused.pop(owner)
            if budget.is_full(now) or len(self._unused) >= MAX_UNUSED_BUDGETS:
                del self._budgets[owner]
            else:
                self._unused[owner] = budget
