"""Deadlines of very many, each kept a little late: one wake-up is for all that are of one round.

What is due then is not known here.
"""

from functools import partial
from math import ceil
from typing import Protocol

from chat.limits import ROUND_SECONDS
from chat.reactor import Reactor


class Waiting(Protocol):
    """Somebody with a deadline."""

    def on_time(self) -> None:
        """The deadline has passed."""


class Deadlines:
    """Calls whoever waits at the first multiple of ROUND_SECONDS that is not before its deadline.

    A timer of the reactor wakes the loop up for one alone, and is three objects. Here whoever waits
    is an entry of a list, and a round has few enough for it to be found there when it goes.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._rounds: dict[int, list[Waiting]] = {}

    def enter(self, waiting: Waiting, deadline: float) -> int:
        """Call `on_time` when it is time. Returns the number of the round, for `leave`."""
        number = ceil(deadline / ROUND_SECONDS)
        if number not in self._rounds:
            self._rounds[number] = []
            self._reactor.call_at(number * ROUND_SECONDS, partial(self._end, number))
        self._rounds[number].append(waiting)
        return number

    def leave(self, waiting: Waiting, number: int) -> None:
        """Do not call; harmless if the round is over. The loop may still wake up."""
        if waiting in self._rounds.get(number, ()):
            self._rounds[number].remove(waiting)

    def _end(self, number: int) -> None:
        for waiting in self._rounds.pop(number):
            self._reactor.call(waiting.on_time)
