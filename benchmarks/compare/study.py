"""All works on all contenders: those with as many members run at the same time and take turns, so
that whatever else the machine does falls on all of them."""

import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.compare import works
from benchmarks.compare.irc import Ngircd
from benchmarks.compare.mqtt import Mosquitto
from benchmarks.compare.nats import NatsServer
from benchmarks.compare.ours import OurRoom, Ours
from benchmarks.compare.plain import BareLoop, BareLoopAlone, Textbook
from benchmarks.compare.results import Cell, Delay, LeftOut, Measured, machine, today
from benchmarks.compare.room import SPEAKERS, TEXT_BYTES, Contender, ContenderError, Room
from benchmarks.load import AT_ONCE
from chat.errors import ChatError

CONTENDERS: tuple[Contender, ...] = (
    Ours(),
    NatsServer(),
    Ngircd(),
    Mosquitto(),
    Textbook(),
    BareLoop(),
    BareLoopAlone(),
)

LEAST_MEMBERS = 10
SPARE_DESCRIPTORS = 200
ONE_AFTER_THE_OTHER = 1_000
"""Up to so many members come in one after the other; beyond that, with several handshakes at a
time, it is not measured what they cost."""

ENTER_AT_A_TIME = 50
JOINS = 10
"""Joins into the full room, one after the other."""

PACE = 50.0
PACED_DELIVERIES = 50_000
"""Messages a second, but no more than so many deliveries, for which a core is enough."""

RATES = (5.0, 10.0, 20.0, 50.0, 100.0)
DELAYS_AT = 1_000
"""Messages a second for which delays are measured, and with how many members at most."""

TURN_CPU_SECONDS = 1.0
TURN_SECONDS = 5.0
"""A flood is so long that it takes so much of the program's CPU, or of the day."""


FAILURES = (ContenderError, ChatError, RuntimeError, OSError, subprocess.SubprocessError)
"""What ends the part of one contender, and not the comparison."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. `cell_seconds`: no further round is begun of a work that has taken so
    long with one contender; `fill_seconds`: so long all members together may take to come in."""

    sizes: tuple[int, ...]
    rounds: int = 3
    paced_seconds: float = 2.0
    rates: tuple[float, ...] = RATES
    cell_seconds: float = 60.0
    fill_seconds: float = 300.0


QUICK = Plan(sizes=(10, 30), rounds=1, paced_seconds=0.5, rates=(20.0,))


@dataclass(slots=True)
class _Entrant:
    """A contender whose members are in."""

    contender: Contender
    room: Room
    batches: int = 1
    sayings: works.Sayings = field(default_factory=works.Sayings)
    spent: dict[str, float] = field(default_factory=dict)
    costs: dict[str, list[float]] = field(default_factory=dict)
    delays: works.Delays = field(default_factory=works.Delays)
    busy: list[float] = field(default_factory=list)


class Study:
    """Runs a plan. `show` is told what is being done."""

    def __init__(
        self, plan: Plan, contenders: Iterable[Contender], show: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._contenders = list(contenders)
        self._show = show
        setting = {"rounds": plan.rounds, "speakers": SPEAKERS, "window": works.WINDOW}
        self.measured = Measured(
            today(), machine(), {**setting, "text_bytes": TEXT_BYTES, "pace": PACE}
        )
        self.measured.versions = {each.name: each.version() for each in self._contenders}

    def run(self) -> Measured:
        """Measure everything."""
        for members in self._plan.sizes:
            for group in self._groups(members):
                self._measure(members, group)
        return self.measured

    def _groups(self, members: int) -> list[list[Contender]]:
        """As many at a time as the load has descriptors for."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
        if members > most:
            for each in self._contenders:
                why = f"a process may open {most + SPARE_DESCRIPTORS} descriptors (ulimit -Hn)"
                self._leave_out(each, members, why)
            return []
        at_a_time = most // members
        everybody = self._contenders
        return [everybody[at : at + at_a_time] for at in range(0, len(everybody), at_a_time)]

    def _leave_out(self, contender: Contender, members: int, why: str) -> None:
        self.measured.left_out.append(LeftOut(contender.name, members, why))

    # -- one number of members -----------------------------------------------------------------

    def _measure(self, members: int, group: list[Contender]) -> None:
        with ExitStack() as stack:
            entrants: list[_Entrant] = []
            for contender in group:
                self._keep_alive(entrants)
                try:
                    entrants.append(self._bring_in(stack, entrants, contender, members))
                except FAILURES as exc:
                    self._leave_out(contender, members, str(exc))
            for turn in range(self._plan.rounds):
                for work, step in (("flood", self._flood), ("paced", self._pace)):
                    self._turn(entrants, members, work, step, turn)
            for entrant in entrants:
                self._note(entrant, members)
            if members == max((n for n in self._plan.sizes if n <= DELAYS_AT), default=None):
                for rate in self._plan.rates:
                    self._delays(entrants, members, rate)

    def _bring_in(
        self, stack: ExitStack, entrants: list[_Entrant], contender: Contender, members: int
    ) -> _Entrant:
        self._say(contender, members, "members come in")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="chat-compare-"))
        room = stack.enter_context(closing(contender.start(Path(directory), members)))
        room.meanwhile = lambda: self._keep_alive(entrants)
        costs = self._fill(room, members)
        room.ready()
        if isinstance(room, OurRoom):
            self.measured.setting["message_bytes"] = room.unit
        entrant = _Entrant(contender, room, costs=costs if contender.joins else {})
        self._warm_up(entrant)
        return entrant

    def _fill(self, room: Room, members: int) -> dict[str, list[float]]:
        """What it costs to come in, and to be in."""
        deadline = time.monotonic() + self._plan.fill_seconds
        room.enter(1, 1, deadline)
        joins = min(JOINS, (members - SPEAKERS - 1) // 2)
        first, empty = room.program.cpu_seconds, room.program.resident_bytes
        if isinstance(room, OurRoom):
            self.measured.setting["empty_mib"] = empty / 2**20
        slowly = members <= ONE_AFTER_THE_OTHER
        left = members - SPEAKERS - 2 - joins
        while left:
            # Those who are in elsewhere must not fall silent meanwhile.
            room.meanwhile()
            some = min(left, ENTER_AT_A_TIME)
            room.enter(some, 1 if slowly else AT_ONCE, deadline)
            left -= some
        room.rest()
        spent = room.program.cpu_seconds - first
        each = []
        for _ in range(joins):
            before = room.program.cpu_seconds
            room.enter(1, 1, deadline)
            # The others may hear of it only when the newcomer is in.
            room.rest()
            each.append((room.program.cpu_seconds - before) * 1e3)
        came = room.size - 1
        grown = (room.program.resident_bytes - empty) / came / 1024
        costs = {"join": each, "idle": [grown]}
        return costs | ({"fill": [spent * 1e3 / (came - joins)]} if slowly else {})

    def _warm_up(self, entrant: _Entrant) -> None:
        """Let it find out how long a flood takes."""
        began, cpu = time.monotonic(), entrant.room.program.cpu_seconds
        works.flood(entrant.room, entrant.sayings, 1, works.WARM_UP)
        share = works.WINDOW / works.WARM_UP
        cpu = (entrant.room.program.cpu_seconds - cpu) * share
        seconds = (time.monotonic() - began) * share
        most = min(TURN_CPU_SECONDS / max(cpu, 1e-6), TURN_SECONDS / seconds)
        entrant.batches = int(max(1, min(works.MAX_BATCHES, most)))

    # -- turns ---------------------------------------------------------------------------------

    def _turn(
        self,
        entrants: list[_Entrant],
        members: int,
        work: str,
        step: Callable[[_Entrant], float],
        turn: int,
    ) -> None:
        for entrant in list(entrants):
            if entrant.spent.get(work, 0.0) > self._plan.cell_seconds:
                continue
            self._keep_alive(entrants)
            self._say(entrant.contender, members, f"{work}, round {turn + 1}")
            began = time.monotonic()
            values = entrant.costs.setdefault(work, [])
            try:
                values.append(step(entrant))
            except FAILURES as exc:
                self._give_up(entrants, entrant, members, f"{work}: {exc}")
            entrant.spent[work] = entrant.spent.get(work, 0.0) + time.monotonic() - began

    def _give_up(self, entrants: list[_Entrant], entrant: _Entrant, members: int, why: str) -> None:
        """It is in no state to go on; what it has done counts."""
        entrants.remove(entrant)
        self._leave_out(entrant.contender, members, why)
        self._note(entrant, members)

    def _note(self, entrant: _Entrant, members: int) -> None:
        name = entrant.contender.name
        self.measured.cells += [
            Cell(name, members, work, values) for work, values in entrant.costs.items() if values
        ]

    def _flood(self, entrant: _Entrant) -> float:
        return works.flood(entrant.room, entrant.sayings, entrant.batches).microseconds

    def _pace(self, entrant: _Entrant) -> float:
        rate = min(PACE, PACED_DELIVERIES / entrant.room.size)
        seconds, ignored = self._plan.paced_seconds, works.Delays()
        return works.paced(entrant.room, entrant.sayings, rate, seconds, ignored).microseconds

    def _delays(self, entrants: list[_Entrant], members: int, rate: float) -> None:
        for entrant in entrants:
            entrant.delays, entrant.busy = works.Delays(), []
        for turn in range(self._plan.rounds):
            for entrant in list(entrants):
                self._keep_alive(entrants)
                self._say(entrant.contender, members, f"delay at {rate:g}/s, round {turn + 1}")
                try:
                    self._delay(entrant, rate)
                except FAILURES as exc:
                    entrants.remove(entrant)
                    self._leave_out(
                        entrant.contender, members, f"{rate:g} messages a second: {exc}"
                    )
        for entrant in entrants:
            delays, busy = entrant.delays, sum(entrant.busy) / len(entrant.busy)
            p50, p99, count = delays.at(0.5), delays.at(0.99), len(delays.milliseconds)
            name = entrant.contender.name
            self.measured.delays.append(Delay(name, members, rate, p50, p99, count, busy))

    def _delay(self, entrant: _Entrant, rate: float) -> None:
        seconds = self._plan.paced_seconds
        cost = works.paced(entrant.room, entrant.sayings, rate, seconds, entrant.delays)
        entrant.busy.append(cost.busy)

    def _keep_alive(self, entrants: list[_Entrant]) -> None:
        for entrant in entrants:
            # Whoever has failed is found out in its own turn.
            with suppress(*FAILURES):
                entrant.room.keep_alive()

    def _say(self, contender: Contender, members: int, what: str) -> None:
        self._show(f"{members:,} members, {contender.short}: {what}")
