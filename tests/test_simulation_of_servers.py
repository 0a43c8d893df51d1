"""Simulated rooms that several servers carry; and what is broken there on purpose is found."""

from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import pytest

from chat.frozen import replace
from chat.server.cluster.room import OrderedRoom, Randomness
from chat.server.cluster.sequence import Sequence
from chat.server.cluster.stream import Stream
from chat.server.epochs import Epochs
from chat.server.log import OrderedLog
from chat.server.members import Member, Members
from tests.simulation import (
    Action,
    Conditions,
    check_seed,
    conditions_of,
    schedule_of,
    violation_of,
)
from tests.simulation_of_servers import WEIGHTS, ClusterSimulation
from tests.support.simulated import ViolationError
from tests.support.simulated_record import Continued, Welcomed
from tests.test_simulation import break_on_purpose

pytestmark = pytest.mark.slow

SEEDS = 60
SEEDS_A_TEST = 20
SEEDS_LOOKED_INTO = 20
"""So many are run by the test that looks into them, too."""
SEEDS_TO_FIND = 50
"""Within so many seeds whatever is broken on purpose must be found."""
SEED_OF_SCENES = 1
SPLIT_SEED = 52
"""Seldom do servers go on for a while with two logs of one room. Here they do."""


def conditions(seed: int) -> Conditions:
    """Those of a world with two servers or three."""
    return conditions_of(seed, servers=2 + seed % 2)


@pytest.mark.parametrize("first", range(SEEDS_LOOKED_INTO + 1, SEEDS + 1, SEEDS_A_TEST))
def test_laws_hold_whatever_happens_to_the_servers(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        check_seed(seed, servers=2 + seed % 2)


def test_same_seed_gives_the_same_run() -> None:
    def logs() -> list[bytes]:
        found = check_seed(7, servers=3)
        return [entry.frame for life in found.lives for entry in life.entries]

    assert logs() == logs()


def what_happened(found: ClusterSimulation) -> Iterator[str]:
    """What makes the laws hard to keep."""
    servers = {each for each in found.sites if each.began}
    yield from ["three servers"] * (len(servers) == 3)
    yield from ["writes lost"] * bool(found.redis.losses)
    eras = [life for life in found.lives if not life.tag]
    yield from ["another room"] * (len(eras) > 1)
    yield from ["split"] * any(life.key[1] for life in found.lives)
    for run in found.runs:
        items = [item for item in run.story.stream if isinstance(item, Welcomed | Continued)]
        for before, now in pairwise(items):
            elsewhere = now.server.split()[0] != before.server.split()[0]
            yield from ["resumed elsewhere"] * (elsewhere and isinstance(now, Continued))


def test_what_can_happen_does_happen() -> None:
    """The seeds that are run go where the laws are hard to keep."""
    seen: set[str] = set()
    for seed in (*range(1, SEEDS_LOOKED_INTO + 1), SPLIT_SEED):
        found = check_seed(seed, servers=2 + seed % 2)
        assert isinstance(found, ClusterSimulation)
        seen.update(what_happened(found))
    expected = {"three servers", "writes lost", "another room", "split", "resumed elsewhere"}
    assert expected <= seen


COMPOSED = {"isolate", "restart_all", "upgrade"}
KINDS = sorted({*WEIGHTS, "write_again"} - COMPOSED)


@pytest.mark.parametrize("kind", KINDS)
def test_anything_can_happen_while_nobody_is_there(kind: str) -> None:
    quiet = conditions_of(1, servers=2)
    schedule = [Action(0.5, kind, 0, 1.0, 1)]
    assert violation_of(1, quiet, schedule) is None


# -- what is broken on purpose is found --------------------------------------------------------

Real = Callable[..., Any]
_numbers = count()


def draw_by_itself(_real: Real, _self: Randomness, size: int) -> bytes:
    return next(_numbers).to_bytes(size, "big")


def apply_at_the_own_time(real: Real, self: OrderedRoom, header: Any, proposal: object) -> None:
    self._at += self._site.clock() % 0.001
    real(self, header, proposal)


def let_anybody_speak(_real: Real, self: OrderedRoom, _seat: object, number: int) -> Any:
    return self._hosted.room.member(number) if number in self._seats else None


def trim_where_members_are(real: Real, self: OrderedRoom) -> None:
    window = self._hosted.log.window_bytes
    self._hosted.log.window_bytes = window - (50 if self._hosted.connections else 0)
    real(self)
    self._hosted.log.window_bytes = window


def do_nothing(*_: object) -> None:
    pass


def always(*_: object) -> bool:
    return True


def forget_what_is_broken(real: Real, self: Sequence, **_broken: bool) -> None:
    real(self, broken=False)


def count_again(real: Real, self: Sequence, raw: Any, header: Any, content: bytes) -> Any:
    number, at = self._origins.get(header.origin, (0, raw.id))
    self._origins[header.origin] = min(number, header.number - 1), at
    return real(self, raw, header, content)


def forget_a_byte(real: Real, self: OrderedLog) -> Any:
    kept, window = real(self)
    return {**kept, "start": kept["start"] + 1}, window[1:]


def forgetting(*keys: str) -> Callable[..., Any]:
    """Of a state, forget these."""

    def state(real: Real, self: object) -> Any:
        kept = real(self)
        for key in keys:
            kept[key] = type(kept[key])()
        return kept

    return state


Break = tuple[object, str, Callable[..., object]]
BREAKS: dict[str, tuple[Break, int]] = {
    "randomness is not from the seed": ((Randomness, "__call__", draw_by_itself), 1),
    "time is taken from the own clock": ((OrderedRoom, "_do", apply_at_the_own_time), 1),
    "no fence": ((OrderedRoom, "_member_in", let_anybody_speak), 7),
    "trimmed where members are": ((OrderedRoom, "_pass_time", trim_where_members_are), 13),
    "a server that is gone keeps its members": ((OrderedRoom, "_do_vanish", do_nothing), 6),
    "a snapshot without who is lost": ((Members, "state", forgetting("lost", "lost_of")), 22),
    "a snapshot without past epochs": ((Epochs, "state", forgetting("past")), 11),
    "a snapshot without whom to wait for": ((Member, "state", forgetting("resend_pending")), 15),
    "a lost tail is not noticed": ((Stream, "_is_continued", always), 43),
    "going back into a broken room": ((Sequence, "lose", forget_what_is_broken), 43),
    "members are not let go": ((OrderedRoom, "_drop_members", do_nothing), 5),
    "a snapshot that has lost its beginning": ((OrderedLog, "state", forget_a_byte), 11),
}
"""What is broken, and a seed that finds it as things are."""


@pytest.mark.parametrize(("broken", "likely"), BREAKS.values(), ids=BREAKS)
def test_what_is_broken_on_purpose_is_found(
    broken: Break, likely: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_on_purpose(monkeypatch, broken)
    assert any(_violation_of_seed(seed) for seed in (likely, *range(1, SEEDS_TO_FIND + 1)))


TWO = Conditions(people=4, latency=0.0, shred=0.0, servers=2, entries=2_000)
SLOW_REDIS = replace(TWO, redis_latency=0.5)
BEGINNING = [
    *(Action(0.0, "serve", number) for number in range(2)),
    *(Action(1.0, "start", who) for who in range(3)),
]
# While a server is cut off, the other one goes on so far that it has to take a snapshot.
GONE_ON = Action(4.0, "say", 1, 20.0, 300)

Scene = tuple[Break, Conditions, list[Action]]
SCENES: dict[str, Scene] = {
    "a batch counts twice": (
        (Sequence, "_on_batch", count_again),
        TWO,
        [Action(2.0, "write_again", size=20)],
    ),
    "a snapshot without what was read is taken": (
        (Sequence, "knows", always),
        TWO,
        [
            Action(2.0, "cut_redis", 1, 1.0),
            Action(2.1, "say", 0, 1.0),
            Action(2.3, "cut_redis", 0, 6.0),
            Action(2.4, "fail_over", size=1),
            GONE_ON,
        ],
    ),
    "who is gone when a snapshot is taken keeps the place": (
        (OrderedRoom, "on_following", do_nothing),
        TWO,
        [Action(2.0, "cut_redis", 0, 5.0), Action(2.1, "vanish", 0), GONE_ON],
    ),
    "who is banned while coming in is not looked at": (
        (OrderedRoom, "_look_at", do_nothing),
        SLOW_REDIS,
        [Action(2.0, "start", 3), Action(2.051, "ban", 3, size=1)],
    ),
    "a server that has left a room is not asked": (
        (OrderedRoom, "answer", do_nothing),
        replace(TWO, sealed=0b1000),
        [
            Action(2.0, "start", 3),
            Action(4.0, "exit", 3),
            Action(4.5, "fail_over", size=2),
            Action(4.6, "cut_clients", 1, 8.0),
            Action(5.0, "start", 3),
        ],
    ),
}
"""What is broken, and what must happen so that it shows: too much for chance."""


@pytest.mark.parametrize(("broken", "where", "happens"), SCENES.values(), ids=SCENES)
def test_what_chance_seldom_finds_is_found_in_its_scene(
    broken: Break, where: Conditions, happens: list[Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = [*BEGINNING, *happens]
    assert violation_of(SEED_OF_SCENES, where, schedule) is None
    break_on_purpose(monkeypatch, broken)
    assert violation_of(SEED_OF_SCENES, where, schedule) is not None


def _violation_of_seed(seed: int) -> ViolationError | None:
    where = conditions(seed)
    found = violation_of(seed, where, schedule_of(seed, where))
    assert "fails: TypeError" not in str(found), "what breaks it does not fit"
    return found
