"""How long the server has not answered is shown, and costs nothing while nobody waits."""

from chat.limits import UNANSWERED_SECONDS
from chat.reactor import Reactor
from chat.ui.silence import Silence
from chat.ui.transcript import prompt
from tests.support.helpers import FakeClock


class Line:
    """What stands before the line, and how often it was drawn."""

    def __init__(self, reactor: Reactor) -> None:
        self.since: float | None = None
        self.waiting = False
        self.drawn: list[int] = []
        self.silence = Silence(reactor, self.draw)

    def draw(self) -> None:
        self.drawn.append(self.silence.seconds(self.since, waiting=self.waiting))


def pass_time(reactor: Reactor, clock: FakeClock, seconds: int) -> None:
    for _ in range(10 * seconds):
        clock.advance(0.1)
        reactor.turn(0)


def test_seconds_are_counted_on_from_the_fifth_until_an_answer_comes(
    reactor: Reactor, clock: FakeClock
) -> None:
    line = Line(reactor)
    line.waiting = True
    line.draw()
    line.since = clock.now
    pass_time(reactor, clock, UNANSWERED_SECONDS - 1)
    assert line.drawn == [0]
    pass_time(reactor, clock, 4)
    assert line.drawn == [0, *range(UNANSWERED_SECONDS, UNANSWERED_SECONDS + 4)]
    line.since = None
    line.draw()
    assert line.drawn[-1] == 0


def test_loop_is_not_woken_while_nothing_waits(reactor: Reactor, clock: FakeClock) -> None:
    line = Line(reactor)
    line.draw()
    pass_time(reactor, clock, 60)
    assert line.drawn == [0]
    line.waiting = True
    line.draw()
    line.waiting = False
    line.draw()
    pass_time(reactor, clock, 60)
    assert line.drawn == [0, 0, 0]


def test_prompt_says_for_how_long_while_the_connection_stands() -> None:
    assert prompt(True, 1, 12) == "(no answer for 12 s) > "
    assert prompt(True, 1, 0) == "> "
    assert prompt(False, 1, 12) == "(offline, 1 waiting) > "
