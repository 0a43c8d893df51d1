"""Whose turn it is among several servers: each has one in a round.

A round begins with the server where we were in last; before that, with the first one. It ends when
we are in, or when each has had its turn. How servers are dialled, and how long to wait between two
rounds, is not known here.
"""

from collections.abc import Collection


class Rounds:
    """The turns of `count` servers, which are numbered from 0.

    `_untried` are those whose turn is still to come in this round. When it is empty the round is
    over, and the next `take` begins another one. `_late`: those that were too slow in this round,
    and have, or had, one more turn in it. `_settled`: we are in, and no round has begun since.
    """

    def __init__(self, count: int) -> None:
        self.present = 0
        """Whose turn it was last, or who answered."""
        self._count = count
        self._first = 0
        self._settled = False
        self._untried: list[int] = []
        self._late: set[int] = set()

    @property
    def has_next(self) -> bool:
        """Whether the round has begun, and somebody has not had a turn in it."""
        return bool(self._untried)

    def take(self) -> int:
        """The next one, in a new round if this one is over."""
        if not self._untried:
            self._begin()
        self._settled = False
        self.present = self._untried.pop(0)
        return self.present

    def choose(self, number: int, given_up: Collection[int]) -> None:
        """This one answered. Those that were given up for it have not had their turns."""
        self.present = number
        self._untried = [*given_up, *self._untried]

    def settle(self) -> None:
        """We are in at the present one."""
        self._first = self.present
        self._settled = True
        self._untried.clear()

    @property
    def is_hasty(self) -> bool:
        """Whether the present one should have a short turn, since others have had none yet."""
        return any(number not in self._late for number in self._untried)

    def postpone(self) -> None:
        """The present one was too slow. If its turn was a short one, it has one more in this round:
        perhaps it is the only one that can be reached."""
        if self.is_hasty:
            self._late.add(self.present)
            self._untried.append(self.present)

    def pass_over(self) -> bool:
        """The present one does not want us: it gets no more turns in this round. Returns whether
        another one has a turn left."""
        if self._settled:
            self._begin()
            self._untried.remove(self.present)
            self._settled = False
        return self.has_next

    def _begin(self) -> None:
        self._late.clear()
        self._untried = [(self._first + at) % self._count for at in range(self._count)]
