"""The rows above the line that is typed, while the line is not open."""

import contextlib
from typing import cast

from chat.reactor import Reactor
from chat.ui.editor import LineEditor
from chat.ui.live import LiveRows
from tests.support.helpers import FakeClock
from tests.support.loopback import Screen


class NoLine:
    """An editor that has not started."""

    visible = False

    def erase(self) -> bytes:
        return b""


def test_lines_of_a_turn_are_drawn_at_its_end_before_what_was_put_off() -> None:
    reactor = Reactor(FakeClock())
    with contextlib.closing(Screen(reactor)) as screen, contextlib.closing(reactor):
        live = LiveRows(reactor, screen.output, cast(LineEditor, NoLine()), lambda: "> ")
        shown: list[list[str]] = []
        reactor.defer(lambda: shown.append(screen.lines()))
        live.show(["one", "two"])
        live.show(["three"])
        assert (live.waiting, screen.lines()) == (11, [])
        reactor.turn(0)
        assert (live.waiting, shown) == (0, [["one", "two", "three"]])
