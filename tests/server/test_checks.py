"""When the members are told the running hash. That it is the right one is in `test_room.py`."""

import pytest

from chat import limits
from chat.server.checks import Checks

Moment = tuple[str, str, float | None]
"""Acts, who is told then, and after how many seconds the next is due; None: all know it.

An act is a welcome (`+A`), a loss (`-A`), a return (`=A`), a wait in seconds (`2s`), or something
is written (`log`)."""

SCRIPTS: dict[str, list[Moment]] = {
    "nobody is told what it knows": [("", "", None), ("+A +B", "", None), ("9s", "", None)],
    "each is told a second after its welcome": [
        ("+A 0.5s +B log", "", 0.5),
        ("0.5s", "A", 0.5),
        ("0.25s", "", 0.25),
        ("0.25s", "B", None),
        ("9s", "", None),
    ],
    "at once, if the log was quiet for longer": [("+A +B 9s log", "A B", None)],
    "and then not for a second": [
        ("+A 9s log", "A", None),
        ("log", "", 1),
        ("log 0.5s log", "", 0.5),
        ("0.5s", "A", None),
    ],
    "only who has a connection": [
        ("+A +B log -A 1s", "B", None),
        ("-B log", "", None),
        ("=A 9s log -C", "A", None),
    ],
    "in the order in which they were told last": [
        ("+A +B 1s log", "A B", None),
        ("log 0.25s -A +A log 1s", "B A", None),
    ],
    # As where a new connection takes over an old one, of which nothing is written.
    "who comes back at once, though the log is quiet": [
        ("+A +B 1s log", "A B", None),
        ("0.25s =B", "B", None),
        ("9s =A =B", "B A", None),
    ],
    "who comes back alone": [("log +A -A", "", None), ("=A", "A", None)],
    "who comes back delays nobody": [("+A +B log 0.5s =B", "B", 0.5), ("0.5s", "A", None)],
}


@pytest.mark.parametrize("moments", SCRIPTS.values(), ids=SCRIPTS)
def test_members_are_told_when_the_log_has_moved_and_not_too_often(moments: list[Moment]) -> None:
    checks = Checks[str]()
    now, end = 1_000.0, 100
    for acts, told, due_in in moments:
        for act in acts.split():
            match act[0], act[1:]:
                case "+", member:
                    checks.begin(member, now, end)
                case "-", member:
                    checks.end(member)
                case "=", member:
                    checks.resume(member)
                case "l", _:
                    end += 1
                case _:
                    now += float(act.removesuffix("s"))
        assert list(checks.due(now, end)) == told.split()
        deadline = checks.deadline(end)
        assert deadline == (None if due_in is None else now + due_in * limits.CHECK_SECONDS)


@pytest.mark.parametrize("size", [1, limits.CHECKS_PER_TURN, 2 * limits.CHECKS_PER_TURN + 1, 2_000])
def test_large_room_is_told_seldomer_and_in_parts(size: int) -> None:
    checks = Checks[int]()
    for member in range(size):
        checks.begin(member, 0.0, 0)
    interval = max(limits.CHECK_SECONDS, size * limits.CHECK_SECONDS_PER_MEMBER)
    assert checks.deadline(1) == interval
    assert list(checks.due(interval * 0.99, 1)) == []
    told: list[int] = []
    while checks.deadline(1) is not None:
        part = list(checks.due(interval, 1))
        assert len(part) == min(limits.CHECKS_PER_TURN, size - len(told))
        told += part
    assert told == list(range(size))
