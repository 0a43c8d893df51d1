"""How a person is here, going by its connections."""

import pytest

from chat.presence import Presence, presence_of


@pytest.mark.parametrize(
    ("lost", "presence"),
    [
        ([], Presence.GONE),
        ([True], Presence.LOST),
        ([True, True], Presence.LOST),
        ([False], Presence.HERE),
        ([True, False], Presence.HERE),
        ([False, True], Presence.HERE),
    ],
)
def test_person_is_here_by_one_connection_that_stands(lost: list[bool], presence: Presence) -> None:
    assert presence_of(lost) is presence
