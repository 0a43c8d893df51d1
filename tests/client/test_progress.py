"""Since when a client has waited for its server in vain."""

from chat.client.progress import Progress
from chat.limits import PING_SECONDS, PONG_SECONDS

TURN_SECONDS = 5


class Watch:
    """A progress that is told the time in each turn."""

    def __init__(self) -> None:
        self.now = 1_000
        self.progress = Progress()

    def turns(
        self, count: int, *, phase: str = "live", waiting: bool = True, listening: bool = True
    ) -> tuple[float, float]:
        """Returns how long ago the waiting and the phase began."""
        for _ in range(count):
            self.now += TURN_SECONDS
            self.progress.look(self.now, phase, waiting=waiting, owed=waiting, listening=listening)
        return self.now - self.progress.since, self.now - self.progress.began


def test_waiting_counts_from_where_it_began_or_something_came() -> None:
    watch = Watch()
    assert watch.turns(10, waiting=False)[0] == 0
    assert watch.turns(5)[0] == 4 * TURN_SECONDS
    watch.progress.move()
    assert watch.turns(5)[0] == 4 * TURN_SECONDS
    assert watch.turns(1, waiting=False)[0] == 0


def test_each_phase_begins_anew_and_the_waiting_goes_on_through_it() -> None:
    watch = Watch()
    watch.turns(1)
    assert watch.turns(4) == (20, 20)
    assert watch.turns(3, phase="catching up") == (35, 10)


def test_time_in_which_we_were_deaf_or_asleep_does_not_count() -> None:
    watch = Watch()
    watch.turns(4)
    assert watch.turns(10, listening=False) == (0, 0)
    assert watch.turns(2) == (10, 10)
    watch.now += PING_SECONDS + PONG_SECONDS
    assert watch.turns(1) == (0, 0)
