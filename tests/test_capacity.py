"""The model of what a server carries comes to what was measured and is no part of it."""

import math

import pytest

from benchmarks.compare.results import OURS, Cell, Delay, Measured, load
from benchmarks.compare.study import Plan
from chat.limits import CHECK_SECONDS_PER_MEMBER
from tools.capacity import Model, Sharing, main, planned, report, report_of_several

MEASURED = load()
DELAYS = [delay for delay in MEASURED.delays if delay.contender == OURS]


def model(**curves: dict[int, float]) -> Model:
    """One of figures that are easy to calculate with."""
    figures = {"flood": {10: 1.0}, "paced": {10: 10.0}, "join": {10: 5.0}, "idle": {10: 2.0}}
    cells = [
        Cell(OURS, members, work, [figure])
        for work, curve in (figures | curves).items()
        for members, figure in curve.items()
    ]
    return Model(Measured("", {}, {"message_bytes": 200.0, "empty_mib": 30.0}, {}, cells))


def test_there_are_measurements_to_check_it_with() -> None:
    assert len(DELAYS) >= 3


@pytest.mark.parametrize("delay", DELAYS, ids=lambda delay: f"{delay.rate:g} a second")
def test_processor_time_is_what_was_measured_at_other_rates(delay: Delay) -> None:
    said = Model(MEASURED).busy(delay.members, delay.rate)
    # The model leaves out CHECKs, which take a hundredth of a core. But a round of the measurement
    # is short, and at its beginning everybody is told one, as nobody has been for long.
    check = CHECK_SECONDS_PER_MEMBER / 100
    told = delay.members * check / Plan(sizes=()).paced_seconds
    assert said + told == pytest.approx(delay.busy, rel=0.4, abs=0.02)


def test_cost_between_two_sizes_is_on_a_line_in_logarithms() -> None:
    grown = model(paced={10: 40.0, 1_000: 10.0})
    assert grown.cost("paced", 10) == 40
    assert grown.cost("paced", 100) == pytest.approx(20)
    assert grown.cost("paced", 5) == 40
    assert grown.cost("paced", 9_999) == 10


def test_messages_leave_together_when_they_come_faster_than_one_can_leave() -> None:
    one = model()
    alone = 1_000 * 10e-6
    assert one.turn_seconds(1_000, 99) == pytest.approx(alone)
    # 200 a second: a turn of s takes n sends, and for each of 200·s messages n times what one adds.
    turn = one.turn_seconds(1_000, 200)
    assert turn == pytest.approx(1_000 * 9e-6 + 200 * turn * 1_000 * 1e-6)
    assert math.isinf(one.turn_seconds(1_000, 1_000))


def test_rate_that_all_have_within_a_time_keeps_to_it() -> None:
    one = model()
    rate = one.rate_within(1_000, 0.1)
    assert 2 * one.turn_seconds(1_000, rate) == pytest.approx(0.1)
    assert one.rate_within(1_000_000, 0.1) == 0


@pytest.mark.parametrize(
    ("members", "rate", "joins", "wall"),
    [
        (100, 1, 0, "none"),
        (20_001, 0, 0, "a room takes 10,000"),
        (1_000, 90, 0, "messages begin to leave together"),
        (1_000, 1_000, 0, "more than one core can send"),
        (100, 0, 150, "joins: a core takes 200"),
        (10, 2_000, 0, "the window"),
    ],
)
def test_first_wall_is_named(members: int, rate: float, joins: float, wall: str) -> None:
    assert wall in report(model(), members, rate, joins, rooms=1).splitlines()[-1]


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (0, "nobody misses a message, since none is said"),
        (0.1, "more than 5 days, or than --grace, misses"),
        (2, "more than 6 hours, or than --grace, misses"),
        (10, "more than 70 minutes, or than --grace, misses"),
        (400, "more than 105 s, or than --grace, misses"),
    ],
)
def test_how_long_one_may_be_away_is_said(rate: float, said: str) -> None:
    assert said in report(model(), 10, rate, 0, rooms=1)


def test_delay_without_a_bound_is_said_to_grow() -> None:
    assert "delay        it grows" in report(model(), 1_000, 1_000, 0, rooms=1)


def test_members_of_several_rooms_hear_only_their_own() -> None:
    assert "10% of a core" in report(model(), 1_000, 100, 0, rooms=10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--members", "0"], "at least 1"),
        (["--members", "5", "--rate", "-1"], "not negative"),
        (["--members", "5", "--rate", "nan"], "not negative"),
        (["--members", "5", "--rooms", "6"], "a room has a member"),
        (["--members", "many"], "a whole number"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["capacity", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert said in capfd.readouterr().err


# -- several servers -------------------------------------------------------------------------------


def sharing(**figures: float) -> Sharing:
    """With Redis a message costs 100 µs more, and at a second server 60 µs more."""
    costs = {"alone": 300.0, "one": 400.0, "two": 460.0} | figures
    cells = [Cell(way, 10, "paced", [cost / 10]) for way, cost in costs.items()]
    cells += [Cell("one", 10, "paced: Redis", [50.0]), Cell("two", 10, "paced: Redis", [70.0])]
    # Of a larger room nothing is taken: there the members hide what the servers cost.
    cells.append(Cell("one", 1_000, "paced", [99.0]))
    return Sharing(Measured("", {}, {}, {}, cells))


def test_each_server_takes_in_every_message_and_sends_to_its_own_members() -> None:
    costs = sharing()
    assert costs.seconds(1) == pytest.approx(100e-6)
    assert costs.seconds(10) == pytest.approx((100 + 9 * 60) / 10 * 1e-6)
    assert costs.redis_seconds(10) == pytest.approx((50 + 9 * 20) * 1e-6)
    several = model()
    several.sharing = costs
    assert several.message_seconds(1_000, 1) == pytest.approx(1_000 * 10e-6)
    assert several.message_seconds(1_000, 10) == pytest.approx(100 * 10e-6 + costs.seconds(10))


def test_cost_that_the_measurement_hides_is_none() -> None:
    assert sharing(one=290.0, two=280.0).seconds(10) == 0


def test_several_servers_need_their_figures() -> None:
    with pytest.raises(ValueError, match="python -m benchmarks cluster --publish"):
        Sharing(Measured("", {}, {}))


@pytest.mark.parametrize(
    ("members", "rate", "servers", "wall"),
    [
        (1_000, 10, 2, "none"),
        (100_000, 1, 10, "a room takes 10,000"),
        (10_000, 50, 2, "more servers help"),
        (100, 9_000, 2, "each server has to take in every message"),
        (100, 3_200, 10, "Redis"),
    ],
)
def test_first_wall_of_several_servers_is_named(
    members: int, rate: float, servers: int, wall: str
) -> None:
    several = model()
    several.sharing = sharing()
    said = report_of_several(several, members, rate, rooms=1, servers=servers)
    assert wall in said.splitlines()[-1]


def test_plan_of_the_document_names_what_keeps_the_rate_from_being_higher() -> None:
    several = model()
    several.sharing = sharing()
    rows = planned(several).splitlines()
    assert rows[2] == "| 1,000 | 1 | 1 | 10 | 70 | to send to the members |"
    assert "| 100,000 | 1 | 10 | 100 | 7 | a room takes 10,000 members |" in rows
    assert rows[-1].startswith("| 100,000 | 1,000 | 10 | 0.164 |")
