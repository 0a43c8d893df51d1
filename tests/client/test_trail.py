"""The way back from what no CHECK covers. All else of a trail is in `test_participant`."""

from unittest import mock

import pytest

from chat.client.trail import Trail
from chat.contents import Seen
from chat.controls import Check
from chat.limits import SEEN_HASH_BYTES
from chat.runninghash import RunningHash

START = 100


def seen(*frames: bytes) -> Seen:
    """What somebody has seen who read these from the beginning on."""
    hashed = RunningHash(bytes(32))
    for frame in frames:
        hashed.update(frame)
    return Seen(START + len(b"".join(frames)), hashed.digest()[:SEEN_HASH_BYTES])


@pytest.mark.parametrize("places", [2, 4_096])
def test_places_behind_the_last_check_are_forgotten_on_the_way_back(places: int) -> None:
    """Even if so much was read since that the place of the CHECK is not among them any more."""
    trail = Trail(START, bytes(32))
    with mock.patch("chat.client.trail.MAX_TRAIL", places):
        trail.take(b"true")
        hashed = RunningHash(bytes(32))
        hashed.update(b"true")
        assert trail.check(Check(START + 4, hashed.digest()))
        for frame in (b"forged", b"more", b"yet more"):
            trail.take(frame)
        assert not trail.checked
        trail.go_back()
        assert trail.checked
        assert trail.seen() == seen(b"true")
        trail.take(b"other.")
    assert trail.agrees(seen(b"true"))
    assert trail.agrees(seen(b"true", b"other."))
    assert not trail.agrees(seen(b"true", b"forged"))
    assert not trail.agrees(seen(b"true", b"forged", b"more"))
