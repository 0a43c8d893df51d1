"""What was measured, and the file that keeps it."""

import datetime
import json
import os
import platform
import re
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("measured.json")

CLUSTER_DATA = DATA.parent.with_name("cluster.json")
"""The same of several servers (`benchmarks/cluster.py`)."""

OURS = "chat"
"""The name of this program among the contenders."""

UNITS = {"flood": "µs", "paced": "µs", "fill": "ms", "join": "ms", "idle": "KiB"}
"""Each work, and the unit of what it costs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one work costs one contender with so many members: the figure of each round."""

    contender: str
    members: int
    work: str
    values: list[float]

    @property
    def median(self) -> float:
        """The figure that is shown."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """By which part of the median the rounds differ."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Delay:
    """Delays in milliseconds at a steady rate of messages a second, how many deliveries were timed,
    and which part of the time the program was busy."""

    contender: str
    members: int
    rate: float
    p50: float
    p99: float
    deliveries: int
    busy: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was not measured, and why."""

    contender: str
    members: int
    why: str


@dataclass(slots=True)
class Measured:
    """All of it, with where and when."""

    when: str
    machine: dict[str, str]
    setting: dict[str, float]
    versions: dict[str, str] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    rooms: list[list[str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def cell(self, contender: str, work: str, members: int) -> Cell | None:
        """The cell, if it was measured."""
        wanted = (contender, work, members)
        cells = (each for each in self.cells if (each.contender, each.work, each.members) == wanted)
        return next(cells, None)

    def curve(self, contender: str, work: str) -> dict[int, float]:
        """The median for each number of members, the smallest first."""
        cells = (each for each in self.cells if (each.contender, each.work) == (contender, work))
        return {each.members: each.median for each in sorted(cells, key=lambda cell: cell.members)}

    def sizes(self) -> list[int]:
        """The numbers of members."""
        return sorted({cell.members for cell in self.cells})

    def noise(self) -> tuple[float, float]:
        """By which part of their median the rounds of a delivery differ: as a median, and at
        most."""
        spreads = [cell.spread for cell in self.cells if cell.work in ("flood", "paced")] or [0.0]
        return statistics.median(spreads), max(spreads)


def save(measured: Measured, path: Path) -> None:
    """Write it where `load` finds it, in lines that `git diff` can show."""
    path.write_text(json.dumps(_rounded(asdict(measured)), indent=1, ensure_ascii=False) + "\n")


def load(path: Path = DATA) -> Measured:
    """What `save` has written."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    data["cells"] = [Cell(**cell) for cell in data["cells"]]
    data["delays"] = [Delay(**delay) for delay in data["delays"]]
    data["left_out"] = [LeftOut(**left) for left in data["left_out"]]
    return Measured(**data)


def _rounded(value: Any) -> Any:
    """More than four digits would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def today() -> str:
    """The day of the measurement."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")


def machine() -> dict[str, str]:
    """What one has to know about this machine to judge the figures."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return {
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 1024**2:.0f} GiB" if memory else "?",
        "kernel": platform.release(),
        "system": system,
        "others": f"{os.getloadavg()[1]:.1f}",
    }
