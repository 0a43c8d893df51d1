"""When somebody counts as away, and how often that is told."""

import pytest

from chat.limits import AWAY_SECONDS
from chat.ui.attention import Attention
from tests.support.helpers import FakeClock


def test_person_who_presses_no_key_is_away_after_a_while_and_it_is_told_once(
    clock: FakeClock,
) -> None:
    attention = Attention(clock)
    clock.advance(AWAY_SECONDS - 1)
    assert attention.unread_for() is None
    attention.on_key()
    clock.advance(AWAY_SECONDS + 7)
    assert attention.unread_for() == AWAY_SECONDS + 7
    clock.advance(AWAY_SECONDS)
    assert attention.unread_for() is None
    attention.on_key()
    assert attention.unread_for() is None
    clock.advance(AWAY_SECONDS)
    assert attention.unread_for() == AWAY_SECONDS


def test_person_is_away_while_another_window_has_the_focus(clock: FakeClock) -> None:
    attention = Attention(clock)
    attention.on_focus(True)
    clock.advance(9)
    assert attention.unread_for() is None
    attention.on_focus(False)
    clock.advance(5)
    assert attention.unread_for() == 5
    attention.on_focus(False)
    assert attention.unread_for() is None
    attention.on_focus(True)
    assert attention.unread_for() is None
    attention.on_focus(False)
    assert attention.unread_for() == 0


def test_person_who_was_away_before_the_focus_went_was_not_there_until_then(
    clock: FakeClock,
) -> None:
    attention = Attention(clock)
    clock.advance(2 * AWAY_SECONDS)
    attention.on_focus(False)
    assert attention.unread_for() == 2 * AWAY_SECONDS


@pytest.mark.parametrize("before", [None, True, False])
def test_key_shows_that_the_window_has_not_lost_the_focus(before: bool | None) -> None:
    attention = Attention()
    if before is not None:
        attention.on_focus(before)
    attention.on_key()
    assert attention.has_focus is (before or None)
