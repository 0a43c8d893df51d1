"""The benchmark of several servers: what it has measured becomes rows, and tables of a document."""

from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.compare.results import CLUSTER_DATA, Cell, Measured, load, save
from benchmarks.load import ROOT
from benchmarks.syscalls import SystemCalls


def measured() -> Measured:
    """Two rounds of all three ways; the second server has more to do."""
    costs = {"alone": [10.0, 20.0], "one": [11.0, 24.0], "two": [12.0, 30.0]}
    cells = []
    for members in (16, 1_000):
        for way, values in costs.items():
            cells += [Cell(way, members, work, values) for work in ("flood", "paced", "p50", "p99")]
            if way != "alone":
                cells.append(Cell(way, members, "paced: Redis", [90.0, 110.0]))
        cells.append(Cell("two", members, "paced: share", [40.0, 42.0]))
    machine = dict.fromkeys(("processor", "memory", "system", "kernel", "others"), "?")
    found = Measured("2026-01-01", machine, {"rounds": 2.0, "cores": 1.0}, cells=cells)
    found.rooms = [["rooms waited for: 64; Redis", "70 µs (60 to 80)"]]
    return found


def test_ratios_and_added_delays_are_of_the_same_round() -> None:
    rows = [(row.what.strip(), row.result, row.aim) for row in cluster.measure(measured())]
    assert ("/ alone", "1.15 x (1.1 to 1.2)", "1.3 x") in rows
    assert ("added", "2.5 ms (1 to 4)", "1 ms") in rows
    assert ("of the first server", "41 % (40 to 42)", "50 %") in rows
    # What the kernel did not count is left out.
    assert not [what for what, _, _ in rows if "system calls" in what]


def test_table_of_the_document_has_a_row_for_each_way() -> None:
    rows = [row for row in cluster.table(measured()).splitlines() if row.startswith("| 1,000 |")]
    assert rows[1:] == [
        "| 1,000 | one server, Redis | 17.5 (1.15 x) | 17.5 (1.15 x) | 17.5 / 17.5 | — | — | 100 |",
        "| 1,000 | two servers, Redis | 21 (1.35 x) | 21 (1.35 x) | 21 / 21 | — | 41 % | 100 |",
    ]


def test_document_says_what_was_measured(tmp_path: Path) -> None:
    document = tmp_path / "docs" / "SCALING.md"
    document.parent.mkdir()
    document.write_text((ROOT / "docs/SCALING.md").read_text())
    before = document.read_text()
    cluster.fill_in(load(CLUSTER_DATA), tmp_path)
    assert document.read_text() == before, "python -m benchmarks cluster --publish"
    cluster.fill_in(measured(), tmp_path)
    assert "two servers, Redis" in document.read_text()


def test_what_was_measured_is_kept(tmp_path: Path) -> None:
    save(measured(), tmp_path / "kept.json")
    assert load(tmp_path / "kept.json") == measured()


@pytest.mark.parametrize("process", [0, 2**22 + 1])
def test_system_calls_are_counted_or_nothing_is_said(process: int) -> None:
    """Of this process; and of one that does not exist."""
    counter = SystemCalls(process)
    before = counter.count
    for _ in range(50):
        (ROOT / "pyproject.toml").stat()
    after = counter.count
    counter.close()
    if process:
        assert (before, after) == (None, None)
    elif before is not None:
        assert after is not None
        assert after - before >= 50
