"""What servers need for so many members and messages, by what was measured.

    python -m tools.capacity --members 1000 --rate 5
    python -m tools.capacity --members 3000 --rate 2 --joins 0.5 --rooms 10
    python -m tools.capacity --members 3000 --rate 50 --servers 3

The figures come from the file that `make compare` writes (`benchmarks/compare/measured.json`);
between two numbers of members they are interpolated. They hold for the machine that is named there:
another one is as much faster or slower as its core is.

The model, for n members and r messages a second. What arrives while the server is busy leaves
together, in one turn. A turn with one message takes n·a, where a is what a delivery costs at a
steady pace. Each further message adds n·f, where f is what a delivery costs in a flood. So as long
as r·n·a < 1 each message has a turn of its own, and beyond that a turn takes
n·(a - f) / (1 - r·n·f). Where there are several rooms, n is the members of one. Left out is what
members take who say nothing: PINGs, and the hundredth of a core that CHECKs take at most.

Where s servers carry the rooms together, each has an s-th of n·a, and each has to take in every
message (`Sharing`, from what `python -m benchmarks cluster --publish` writes). In a small room most
of a message's cost is that. So it is what a message costs all servers in the smallest room that was
measured: more with Redis than without, and more at two servers than at one.
"""

import argparse
import math
import resource
import sys
from itertools import pairwise

from benchmarks.compare.results import CLUSTER_DATA, DATA, OURS, Measured, load
from chat.limits import (
    GRACE_SECONDS,
    MAX_MEMBERS,
    SPARE_DESCRIPTORS,
    WINDOW_BYTES,
)

BUSY = 0.7
"""More than this part of a core should not be planned with: joins and returns come in crowds."""


class Sharing:
    """What a message costs because servers carry the room together, in microseconds of CPU: at the
    first server and at each other one, and so at Redis."""

    def __init__(self, measured: Measured) -> None:
        """
        Raises:
            ValueError: it was not measured.
        """
        members = min(measured.sizes(), default=0)
        alone, one, two = (self._figure(measured, way, members) for way in ("alone", "one", "two"))
        self.first = max(0.0, (one - alone) * members)
        self.other = max(0.0, (two - one) * members)
        redis, redis_of_two = (
            self._figure(measured, way, members, "paced: Redis") for way in ("one", "two")
        )
        self.redis_first = redis
        self.redis_other = max(0.0, redis_of_two - redis)

    @staticmethod
    def _figure(measured: Measured, way: str, members: int, work: str = "paced") -> float:
        cell = measured.cell(way, work, members)
        if cell is None:
            raise ValueError("no cluster was measured; run python -m benchmarks cluster --publish")
        return cell.median

    def seconds(self, servers: int) -> float:
        """For a message, at each of so many servers, whoever of them has it put in order."""
        return (self.first + (servers - 1) * self.other) / servers / 1e6

    def redis_seconds(self, servers: int) -> float:
        """For a message, at Redis."""
        return (self.redis_first + (servers - 1) * self.redis_other) / 1e6


class Model:
    """Costs as they were measured, and what follows from them."""

    def __init__(self, measured: Measured, sharing: Sharing | None = None) -> None:
        """`sharing` is needed for several servers.

        Raises:
            ValueError: this program was not measured.
        """
        self.sharing = sharing
        curves = {work: measured.curve(OURS, work) for work in ("flood", "paced", "join", "idle")}
        if not all(curves.values()):
            raise ValueError("the file has no figures of this program; run make compare")
        self._curves = curves
        self.message_bytes = measured.setting["message_bytes"]
        self._empty_mib = measured.setting["empty_mib"]

    def cost(self, work: str, members: int) -> float:
        """What the work costs with so many members, in the unit of the file: between two that were
        measured, on a line in logarithms; outside of them, as the nearest."""
        curve = self._curves[work]
        if members in curve:
            return curve[members]
        for (low, at_low), (high, at_high) in pairwise(curve.items()):
            if low < members < high:
                share = math.log(members / low) / math.log(high / low)
                return float(at_low * (at_high / at_low) ** share)
        return curve[min(curve, key=lambda size: abs(size - members))]

    def turn_seconds(self, members: int, rate: float = 0.0) -> float:
        """How long it is busy with what leaves together; infinite where it cannot keep up."""
        alone = members * self.cost("paced", members) / 1e6
        more = members * min(self.cost("flood", members), self.cost("paced", members)) / 1e6
        if rate * alone <= 1:
            return alone
        return (alone - more) / (1 - rate * more) if rate * more < 1 else math.inf

    def busy(self, members: int, rate: float, joins: float = 0.0) -> float:
        """Which part of a core it takes: at most 1."""
        alone = members * self.cost("paced", members) / 1e6
        return min(1.0, rate * alone + joins * self.cost("join", members) / 1e3)

    def message_seconds(self, members: int, servers: int) -> float:
        """What a message takes of a core at each of these servers, in a room of so many members."""
        taking = self.sharing.seconds(servers) if self.sharing and servers > 1 else 0.0
        return self.turn_seconds(members) / servers + taking

    def rate_of(self, members: int, servers: int) -> float:
        """Messages a second, in all rooms of so many members, with which no server and no Redis is
        busier than BUSY."""
        most = 1 / self.message_seconds(members, servers)
        if self.sharing and servers > 1:
            most = min(most, 1 / self.sharing.redis_seconds(servers))
        return BUSY * most

    def alone_rate(self, members: int) -> float:
        """Messages a second that still leave one by one."""
        return 1 / self.turn_seconds(members)

    def rate_within(self, members: int, seconds: float) -> float:
        """Messages a second that all have within this time, 0 if not even one has it."""
        # What arrives while a turn is under way waits for its end, and then for its own.
        if 2 * self.turn_seconds(members) > seconds:
            return 0.0
        low, high = 0.0, 1e7 / members
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (
                (middle, high)
                if 2 * self.turn_seconds(members, middle) <= seconds
                else (low, middle)
            )
        return low

    def joins_a_second(self, members: int) -> float:
        """Joins one after the other that a core can take, and do nothing else."""
        return 1e3 / self.cost("join", members)

    def memory_mib(self, members: int, windows: int) -> float:
        """The process with so many members, and so many rooms that have filled their window."""
        return (
            self._empty_mib
            + members * self.cost("idle", members) / 1024
            + windows * WINDOW_BYTES / 2**20
        )


def report_of_several(model: Model, members: int, rate: float, rooms: int, servers: int) -> str:
    """The same where so many servers carry each room together, with as many members each."""
    assert model.sharing
    each = math.ceil(members / rooms)
    busy = rate * model.message_seconds(each, servers)
    of_redis = rate * model.sharing.redis_seconds(servers)
    lines = [
        ("processor", f"{busy:.0%} of a core at each server, {of_redis:.0%} at Redis"),
        (
            "delay",
            f"all of a room have a message after {_ms(model.message_seconds(each, servers))}",
        ),
        (
            "memory",
            f"{model.memory_mib(math.ceil(members / servers), rooms):.0f} MiB at each server",
        ),
        ("most", f"{model.rate_of(each, servers):.3g} messages a second, in all rooms together"),
        ("wall", _wall_of_several(model, each, rate, servers)),
    ]
    return "\n".join(f"{what:12} {said}" for what, said in lines)


def _delay_of_several(model: Model, each: int, rate: float, servers: int) -> str:
    turn = model.message_seconds(each, servers)
    if rate * turn >= 1:
        return "it grows as long as so much is said one by one"
    return f"all of a room have a message after {_ms(turn)}, and the way to Redis and back"


def _wall_of_several(model: Model, each: int, rate: float, servers: int) -> str:
    assert model.sharing
    if each > MAX_MEMBERS:
        return f"a room takes {MAX_MEMBERS:,} members, however many servers carry it"
    if rate * model.sharing.redis_seconds(servers) > BUSY:
        return "Redis: it has one core for all messages"
    if rate * model.sharing.seconds(servers) > BUSY:
        return "the processor: each server has to take in every message, so more do not help"
    if rate * model.message_seconds(each, servers) > BUSY:
        return "the processor: more servers help"
    return "none: these servers carry it"


def planned(model: Model) -> str:
    """The cases of docs/SCALING.md, as a table."""
    cases = ((1_000, 1), (10_000, 1), (100_000, 1), (100_000, 1_000))
    rows = [
        "| members | rooms | servers | CPU of a message at each, ms | messages a second | wall |"
    ]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    for members, rooms in cases:
        for servers in (1, 2, 10):
            each = members // rooms
            rate = model.rate_of(each, servers)
            cost = model.message_seconds(each, servers) * 1e3
            wall = _wall_of_plan(model, each, servers)
            row = [f"{members:,}", f"{rooms:,}", str(servers), _three(cost), _three(rate), wall]
            rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def _three(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"


def _wall_of_plan(model: Model, each: int, servers: int) -> str:
    """What keeps the rate from being higher."""
    if each > MAX_MEMBERS:
        return f"a room takes {MAX_MEMBERS:,} members"
    sharing = model.sharing
    if sharing and servers > 1:
        if sharing.redis_seconds(servers) > model.message_seconds(each, servers):
            return "Redis' core"
        if sharing.seconds(servers) > model.message_seconds(each, servers) / 2:
            return "to take in every message"
    return "to send to the members"


def report(model: Model, members: int, rate: float, joins: float, rooms: int) -> str:
    """What to plan with, a line each, and which wall comes first."""
    each = math.ceil(members / rooms)
    turn = model.turn_seconds(each, rate)
    descriptors = members + SPARE_DESCRIPTORS
    window = WINDOW_BYTES / (rate / rooms * model.message_bytes) if rate else math.inf
    missing = f"who is away for more than {_span(window)}, or than --grace, misses messages"
    lines = [
        ("processor", f"{model.busy(each, rate, joins):.0%} of a core"),
        ("delay", _delay(turn)),
        ("memory", f"{model.memory_mib(members, rooms):.0f} MiB, full windows included"),
        ("descriptors", f"{descriptors:,} (ulimit -n)"),
        ("window", missing if rate else "nobody misses a message, since none is said"),
        ("wall", _wall(model, members, each, rate, joins, window)),
    ]
    return "\n".join(f"{what:12} {said}" for what, said in lines)


def _wall(model: Model, members: int, each: int, rate: float, joins: float, window: float) -> str:
    """What would have to change first."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if each > MAX_MEMBERS:
        return f"a room takes {MAX_MEMBERS:,} members"
    if most != resource.RLIM_INFINITY and members + SPARE_DESCRIPTORS > most:
        return f"descriptors: a process may open {most:,} here (ulimit -Hn)"
    if joins * model.cost("join", each) / 1e3 > BUSY:
        return f"joins: a core takes {model.joins_a_second(each):.0f} a second"
    if math.isinf(model.turn_seconds(each, rate)):
        return "the processor: the messages are more than one core can send"
    if model.busy(each, rate, joins) > BUSY:
        return "the processor: messages begin to leave together, and the delay grows"
    if window < GRACE_SECONDS:
        return f"the window: it is full before the {GRACE_SECONDS} s of --grace are over"
    return "none: it fits one server"


def _delay(turn: float) -> str:
    if math.isinf(turn):
        return "it grows as long as so much is said"
    return (
        f"half of a room has a message after {_ms(turn / 2)}, all after {_ms(turn)}; "
        f"if others speak at that moment, after {_ms(2 * turn)}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds > 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def main() -> None:
    """Read what is planned, and print what it takes."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.capacity", description="What one server needs, by what was measured."
    )
    parser.add_argument("--members", type=_count, required=True, help="in all rooms together")
    parser.add_argument(
        "--rate", type=_rate, default=1.0, help="messages a second, in all rooms (default: 1)"
    )
    parser.add_argument("--joins", type=_rate, default=0.0, help="joins a second")
    parser.add_argument("--rooms", type=_count, default=1, help="rooms of equal size")
    parser.add_argument("--servers", type=_count, default=1, help="that carry each room together")
    options = parser.parse_args()
    if options.rooms > options.members:
        parser.error("a room has a member at least")
    if options.servers > 1 and options.joins:
        parser.error("what joins cost several servers was not measured: leave out --joins")
    path = DATA
    try:
        measured = load()
        model = Model(measured)
        if options.servers > 1:
            path = CLUSTER_DATA
            model.sharing = Sharing(load(path))
    except (OSError, ValueError) as exc:
        sys.exit(f"capacity: error: cannot read {path}: {exc}")
    plan = options.members, options.rate
    if options.servers > 1:
        print(report_of_several(model, *plan, options.rooms, options.servers))
    else:
        print(report(model, *plan, options.joins, options.rooms))
    print(f"\nMeasured on {measured.when}, {measured.machine['processor']}.")


def _count(given: str) -> int:
    if not given.isdecimal() or not int(given):
        raise argparse.ArgumentTypeError("a whole number, at least 1")
    return int(given)


def _rate(given: str) -> float:
    try:
        rate = float(given)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise argparse.ArgumentTypeError("a number that is not negative")
    return rate


if __name__ == "__main__":
    main()
