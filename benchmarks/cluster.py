"""The same room at one server alone, at one with Redis, and at two with Redis that have half of the
members each: CPU and system calls of a delivery, and its delay. The three take turns.

First a small room, in which a delivery is mostly what a message itself costs, then a large one.
The log of each is full.
With more than two cores each program has its own; else all share the one that the load leaves.
"""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import chat
from benchmarks.compare import tables
from benchmarks.compare.lines import Foreign, free_port, lacks, version_of
from benchmarks.compare.results import CLUSTER_DATA, Cell, Measured, load, machine, save, today
from benchmarks.delay import MESSAGES, PACE_SECONDS, Paced, percentiles
from benchmarks.fanout import FLOOD_BATCHES, TEXT, Load, Side, Size, batches_of, flood
from benchmarks.load import (
    HOST,
    LOAD_CORE,
    PROGRAM_CORE,
    ROOT,
    Crowd,
    Keys,
    Member,
    Program,
    Row,
    acquaint,
    chat_server,
    join,
    progress,
    short,
    spread,
)
from benchmarks.syscalls import SystemCalls
from chat.limits import SPARE, WINDOW_BYTES
from tools.capacity import Model, Sharing, planned

SMALL = 16
"""Members of the small room."""

SHAKING = 8
"""Handshakes under way: programs that share a core must not take too long for them."""

ROUNDS = 15

WAYS = {"alone": (1, False), "one": (1, True), "two": (2, True)}
"""How many servers, and whether with Redis."""

TITLES = {
    "alone": "one server alone",
    "one": "one server, Redis",
    "two": "two servers, Redis",
}

SETTLED_SECONDS = 2.0
"""When nothing has arrived for so long, nothing is on its way any more."""

AIM = 1.3
"""Times the CPU of one server alone."""

ADDED_AIM_MS = 1.0

_CORES = sorted(os.sched_getaffinity(0) - {LOAD_CORE}, reverse=True) or [PROGRAM_CORE]


class Meter:
    """Seconds of CPU and system calls of a program, since it was read last."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._system_calls = SystemCalls(program.pid)
        self._before = self._now()

    def close(self) -> None:
        """Read no more."""
        self._system_calls.close()

    def _now(self) -> tuple[float, float]:
        calls = self._system_calls.count
        return self._program.cpu_seconds, float("nan") if calls is None else calls

    def read(self) -> tuple[float, float]:
        """Both, and begin anew."""
        before, self._before = self._before, self._now()
        return self._before[0] - before[0], self._before[1] - before[1]


class Way:
    """A room that is carried in one of the ways, with all of its members."""

    def __init__(self, stack: ExitStack, directory: Path, name: str, size: Size, keys: Keys):
        count, with_redis = WAYS[name]
        self.name = name
        self.figures: defaultdict[str, list[float]] = defaultdict(list)
        self._redis: Meter | None = None
        options: list[str] = []
        if with_redis:
            redis = stack.enter_context(_redis(directory))
            self._redis = stack.enter_context(closing(Meter(redis)))
            key = str(directory / "cluster.key")
            options = ["--cluster", f"redis://{HOST}:{redis.port}", "--cluster-key", key]
        servers = []
        for number in range(count):
            keys_folder = directory / f"server{number}"
            keys_folder.mkdir()
            core = _CORES[number % len(_CORES)]
            servers.append(stack.enter_context(chat_server(keys_folder, *options, core=core)))
        crowd = stack.enter_context(Crowd(*servers))
        self._meters = [stack.enter_context(closing(Meter(server))) for server in servers]
        self.speakers = _fill(crowd, [server.port for server in servers], size, keys)
        sockets = [speaker.socket for speaker in self.speakers]
        self.side = Side(name, "", servers, crowd, crowd.sockets, sockets, keep=self._keep)
        self._heard = {connected.fileno(): bytearray() for connected in sockets}
        self._listen()

    def _keep(self, descriptor: int, data: bytes) -> None:
        if descriptor in self._heard:
            self._heard[descriptor] += data

    def _listen(self) -> None:
        """Let speakers understand what they have heard and will hear, so that they seal under the
        latest key: in a cluster an epoch ends when much was said."""
        for speaker in self.speakers:
            heard = self._heard[speaker.socket.fileno()]
            if heard:
                speaker.hear(bytes(heard))
            heard.clear()
            speaker.texts.clear()
            self.side.crowd.read_with(speaker.socket.fileno(), speaker.read)
        self.side.crowd.drain()

    def measure(self, work: str, load: Load, messages: int) -> None:
        """Put a load on it, and note what it cost."""
        self.side.crowd.drain()
        for meter in self._all_meters():
            meter.read()
        self.side.measure(load, messages)
        seconds, calls = zip(*(meter.read() for meter in self._meters), strict=True)
        self._listen()
        self._note(work, self.side.costs[-1])
        self._note(f"{work}: system calls", sum(calls) / messages)
        self._note(f"{work}: busy", self.side.busy[-1])
        self._note(f"{work}: in one read", self.side.messages_per_read[-1])
        if len(seconds) > 1:
            self._note(f"{work}: share", seconds[0] / sum(seconds) * 100)
        if self._redis is not None:
            cpu, calls_of_redis = self._redis.read()
            self._note(f"{work}: Redis", cpu / messages * 1e6)
            self._note(f"{work}: system calls of Redis", calls_of_redis / messages)

    def _all_meters(self) -> list[Meter]:
        return [*self._meters, *([self._redis] if self._redis else [])]

    def _note(self, work: str, figure: float) -> None:
        if figure == figure:
            self.figures[work].append(figure)

    def fill(self, window: int) -> None:
        """Say so much that something has to leave the log for whatever comes next: a room that is
        used is so, sooner or later."""
        said = 0
        while said <= WINDOW_BYTES * (1 + SPARE):
            said += self.flood(window)
        self.figures.clear()

    def flood(self, window: int) -> int:
        """Each speaker has so many messages under way. Returns the bytes of all of them."""
        batches = [batches_of(speaker, FLOOD_BATCHES, window) for speaker in self.speakers]
        self.measure("flood", flood(batches), len(batches) * FLOOD_BATCHES * window)
        return sum(len(batch.down) for own in batches for batch in own)

    def paced(self) -> None:
        """The speakers take turns to say something."""
        speakers = cycle(self.speakers)
        batches = [next(speakers).seal(TEXT) for _ in range(MESSAGES)]
        delays: list[float] = []
        self.measure("paced", lambda side: delays.extend(Paced(side, batches).run()), MESSAGES)
        for which, delay in zip(("p50", "p99"), percentiles(delays), strict=True):
            self._note(which, delay)


def _redis(directory: Path) -> Foreign:
    """A Redis that keeps nothing on its disk."""
    port = free_port()
    options = ["--bind", HOST, "--port", str(port), "--dir", str(directory), "--save", ""]
    return Foreign(["redis-server", *options], directory, port, _CORES[-1])


def _fill(crowd: Crowd, ports: list[int], size: Size, keys: Keys) -> list[Member]:
    """Let as many come in at each server; the speakers, who come last, are returned."""
    silent = size.members - size.speakers
    for number, port in enumerate(ports):
        names = [f"listener{one}" for one in range(number, silent, len(ports))]
        join(crowd, port, names, keys, SHAKING)
    places = cycle(ports)
    taken = [(next(places), f"speaker{number}", keys.take()) for number in range(size.speakers)]
    speakers = [Member(*each) for each in taken]
    acquaint(crowd, speakers)
    return speakers


# -- the measurement ---------------------------------------------------------------------------


def missing() -> str:
    """What has to be installed first; nothing, if all is there."""
    return lacks("redis-server") or ("" if find_spec("hiredis") else "hiredis")


def run(size: Size, keys: Keys, directory: Path) -> Measured:
    """Measure all three, in a small room and in one of this size.

    Raises:
        RuntimeError: something is not installed, or there are too few members.
    """
    if lacking := missing():
        raise RuntimeError(f"install {lacking}, without which there is no cluster")
    if size.members < SMALL:
        raise RuntimeError(f"the cluster is measured with {SMALL} members at least")
    setting: dict[str, float] = {
        "rounds": ROUNDS,
        "speakers": size.speakers,
        "window": size.window,
        "text_bytes": len(TEXT),
        "pace": 1 / PACE_SECONDS,
        "cores": len(_CORES),
    }
    measured = Measured(today(), machine(), setting)
    measured.versions = {"chat": chat.__version__, "redis": version_of(["redis-server", "-v"])}
    for members in sorted({SMALL, size.members}):
        folder = directory / str(members)
        folder.mkdir()
        measured.cells += _of_size(Size(members, size.speakers, size.window), keys, folder)
    # It needs hiredis, which need not be there for other benchmarks.
    from benchmarks import waiting

    progress("waiting for many rooms ...")
    with _redis(directory) as redis:
        measured.rooms = [[row.what, row.result] for row in waiting.measure(redis)]
    return measured


def _of_size(size: Size, keys: Keys, directory: Path) -> Iterator[Cell]:
    with ExitStack() as stack:
        ways = []
        for name in WAYS:
            folder = directory / name
            folder.mkdir()
            ways.append(Way(stack, folder, name, size, keys))
        for way in ways:
            progress(f"{size.members} members: filling the log of {TITLES[way.name]} ...")
            Crowd.keep_alive()
            way.fill(size.window)
        for turn in range(1 + ROUNDS):
            progress(f"{size.members} members, a flood: round {turn + 1} of {1 + ROUNDS} ...")
            Crowd.keep_alive()
            for way in ways:
                way.flood(size.window)
        for way in ways:
            # The end of a flood must not be taken for what is said next.
            way.side.crowd.drain(SETTLED_SECONDS)
        for turn in range(1 + ROUNDS):
            progress(f"{size.members} members, delays: round {turn + 1} of {1 + ROUNDS} ...")
            Crowd.keep_alive()
            for way in ways:
                way.paced()
        for way in ways:
            for work, figures in way.figures.items():
                # The first round warms up.
                yield Cell(way.name, size.members, work, figures[1:])


def measure(measured: Measured) -> Iterator[Row]:
    """What was measured, as a table."""
    for members in measured.sizes():
        for work, title in (("flood", "in a flood"), ("paced", "at a steady pace")):
            yield Row(f"{members} members, {title}", "")
            yield from _costs(measured, members, work)
        yield from _delays(measured, members)
    yield Row("a message, for the connections to Redis", "")
    for what, result in measured.rooms:
        yield Row(f"  {what}", result)


def _costs(measured: Measured, members: int, work: str) -> Iterator[Row]:
    alone = measured.cell("alone", work, members)
    assert alone
    details = (
        ("share", "of the first server", "%", "50 %"),
        ("busy", "servers busy meanwhile", "%", ""),
        ("in one read", "in one read", "messages", ""),
        ("system calls", "system calls a message", "", ""),
        ("Redis", "of Redis, a message", "µs", ""),
        ("system calls of Redis", "its system calls a message", "", ""),
    )
    for name, title in TITLES.items():
        cell = measured.cell(name, work, members)
        assert cell
        yield Row(f"  a delivery, {title}", spread(cell.values, "µs"))
        if name != "alone":
            yield Row("    / alone", spread(_beside(cell, alone), "x"), f"{AIM} x")
        for which, meaning, unit, aim in details:
            detail = measured.cell(name, f"{work}: {which}", members)
            if detail is not None:
                yield Row(f"    {meaning}", spread(detail.values, unit), aim)


def _beside(cell: Cell, alone: Cell) -> list[float]:
    return [ours / theirs for ours, theirs in zip(cell.values, alone.values, strict=True)]


def _delays(measured: Measured, members: int) -> Iterator[Row]:
    for which in ("p50", "p99"):
        alone = measured.cell("alone", which, members)
        assert alone
        for name, title in TITLES.items():
            cell = measured.cell(name, which, members)
            assert cell
            yield Row(f"  delay {which}, {title}", spread(cell.values, "ms"))
            if name != "alone":
                added = [a - b for a, b in zip(cell.values, alone.values, strict=True)]
                aim = f"{ADDED_AIM_MS:g} ms" if which == "p50" else ""
                yield Row("    added", spread(added, "ms"), aim)


# -- for the document --------------------------------------------------------------------------


def table(measured: Measured) -> str:
    """The figures of docs/SCALING.md, the median of all rounds."""
    head = ["members", "carried by", "flood, µs", "paced, µs", "delay p50 / p99, ms"]
    rows = [[*head, "system calls", "first server", "Redis, µs"]]
    for members in measured.sizes():
        for name, title in TITLES.items():
            rows.append([f"{members:,}", title, *_row(measured, members, name)])
    cores = int(measured.setting["cores"])
    others = "the other" if cores == 1 else f"{cores} others"
    how = (
        "A delivery costs all servers together; in parentheses, beside one server alone. The other "
        "figures are at a steady pace: the system calls of the servers for a message, how much of "
        "the servers' processor time is the first one's, and Redis' own processor time for a "
        f"message. {tables.where_made(measured)}: the load on one core, servers and Redis on "
        f"{others}, over the loopback, in turns; "
        f"the median of {measured.setting['rounds']:g} rounds. "
        f"The load average was {measured.machine['others']}."
    )
    of_rooms = tables.as_markdown(
        [["a message, for the connections to Redis", "processor time"], *measured.rooms]
    )
    return f"{tables.as_markdown(rows)}\n\n{of_rooms}\n\n{how}"


def _row(measured: Measured, members: int, name: str) -> Iterator[str]:
    for work in ("flood", "paced"):
        cell, alone = (measured.cell(each, work, members) for each in (name, "alone"))
        assert cell
        assert alone
        beside = f" ({short(statistics.median(_beside(cell, alone)))} x)" if name != "alone" else ""
        yield short(cell.median) + beside
    p50, p99 = (_median(measured, name, which, members) for which in ("p50", "p99"))
    yield f"{p50} / {p99}"
    yield _median(measured, name, "paced: system calls", members)
    share = _median(measured, name, "paced: share", members)
    yield share if share == tables.NOTHING else f"{share} %"
    yield _median(measured, name, "paced: Redis", members)


def _median(measured: Measured, name: str, work: str, members: int) -> str:
    cell = measured.cell(name, work, members)
    return tables.NOTHING if cell is None else short(cell.median)


def publish(measured: Measured) -> None:
    """Keep what was measured, and write the tables of docs/SCALING.md anew."""
    save(measured, CLUSTER_DATA)
    fill_in(load(CLUSTER_DATA))


def fill_in(measured: Measured, root: Path = ROOT) -> None:
    """Write the tables of docs/SCALING.md.

    Raises:
        ValueError: the document lacks the place for one.
    """
    document = root / "docs" / "SCALING.md"
    text = tables.replaced(document.read_text(encoding="utf-8"), "cluster", table(measured))
    model = Model(load(), Sharing(measured))
    document.write_text(tables.replaced(text, "model", planned(model)), encoding="utf-8")
