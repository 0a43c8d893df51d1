"""What a terminal is told of mentions, without a terminal."""

from chat.ui.screen import Mentions
from tests.support.helpers import FakeClock


def test_many_mentions_ring_once_a_second_and_change_the_title_once_a_turn() -> None:
    clock = FakeClock()
    mentions = Mentions(clock, has_title=True)

    def hear(count: int, *, bell: bool = True) -> bytes:
        for _ in range(count):
            mentions.add()
        return mentions.tell(lambda number: b"%d" % number, bell=bell)

    assert hear(0) == b""
    assert hear(2000) == b"\a\x1b[22;2t\x1b]2;2000\a"
    assert hear(0) == b""
    clock.advance(0.9)
    assert hear(1) == b"\x1b]2;2001\a"
    clock.advance(0.1)
    assert hear(1) == b"\a\x1b]2;2002\a"
    assert mentions.forget() == b"\x1b[23;2t"
    assert mentions.forget() == b""
    clock.advance(1.0)
    assert hear(1, bell=False) == b"\x1b[22;2t\x1b]2;1\a"
