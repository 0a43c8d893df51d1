"""Local time: a zone that changes is seen, and not asked for all the time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chat import localtime
from chat.limits import ZONE_SECONDS
from chat.localtime import seconds_of, stamp_of
from tests.support.helpers import WALL_CLOCK, FakeClock
from tests.support.processes import zone_file


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock(WALL_CLOCK)
    monkeypatch.setattr("chat.localtime.time.time", clock)
    monkeypatch.setattr(localtime, "_looked_at", float("-inf"))
    return clock


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file that TZ names: UTC at first."""
    path = tmp_path / "zone"
    path.write_bytes(zone_file(0))
    monkeypatch.setenv("TZ", f":{path}")
    yield path
    monkeypatch.undo()
    localtime.look_again()


def hour() -> int:
    """The hour of 1970-01-01, 00:00 UTC."""
    return localtime.local(0).hour


def move_to(zone: Path, hours: int) -> None:
    other = zone.with_suffix(".new")
    other.write_bytes(zone_file(hours * 3600))
    other.replace(zone)


@pytest.mark.parametrize("wait", [ZONE_SECONDS, -2 * ZONE_SECONDS])
def test_zone_that_changed_is_seen_after_a_while_or_when_asked(
    zone: Path, clock: FakeClock, wait: float
) -> None:
    assert hour() == 0
    move_to(zone, 9)
    clock.advance(ZONE_SECONDS - 1)
    assert hour() == 0
    clock.advance(wait)
    assert hour() == 9
    move_to(zone, 5)
    localtime.look_again()
    assert hour() == 5


def test_times_that_were_written_before_are_written_anew_in_another_zone(
    zone: Path, clock: FakeClock
) -> None:
    assert localtime.time_of(0.5, "%H:%M") == localtime.time_of(0.7, "%H:%M") == "00:00"
    move_to(zone, 9)
    clock.advance(ZONE_SECONDS)
    assert localtime.time_of(0.5, "%H:%M") == "09:00"


def test_parts_of_a_second_are_written_if_they_are_asked_for(zone: Path, clock: FakeClock) -> None:
    assert [localtime.time_of(at, "%S.%f") for at in (1.25, 1.5)] == ["01.250000", "01.500000"]


def test_zone_is_not_asked_for_with_each_time(
    zone: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("chat.localtime.time.tzset", lambda: asked.append(True))
    for _ in range(100):
        hour()
    assert len(asked) <= 2


@pytest.mark.parametrize("seconds", [1e18, -1e18, float("inf"), float("nan"), 2**64 / 1000])
def test_time_that_no_calendar_holds_is_unknown(seconds: float) -> None:
    assert localtime.time_of(seconds) == "????-??-?? ??:??:??"


def test_time_in_a_file_is_read_as_it_was_written() -> None:
    assert stamp_of(1_800_000_000.9) == "2027-01-15T08:00:00Z"
    assert [seconds_of(stamp_of(when)) for when in (0, 1_800_000_000)] == [0, 1_800_000_000]
