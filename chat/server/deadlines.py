"""Deadlines of many connections, each kept a little late, so that one wake-up serves many of them.

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

    The deadlines between two multiples are a round, and take one timer of the reactor. A timer for
    each deadline would be three objects, and would wake the loop up for one alone. Here whoever
    waits is one entry in the list of its round; few are in one, so `leave` can search the list.
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
