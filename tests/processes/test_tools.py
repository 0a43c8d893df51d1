"""What `make demo` and `make trace` start does what it says."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


def run(stage: Stage, tool: str, *arguments: str) -> str:
    """What a tool shows that ends well and complains of nothing."""
    command = [sys.executable, "-m", f"tools.{tool}", *arguments]
    status, out, err = stage.run(command, env={"PYTHONPATH": str(ROOT)}).end()
    assert (status, err) == (0, ""), out
    return out


def test_demo_finds_everything_as_expected(stage: Stage) -> None:
    assert "│ all as expected, in " in run(stage, "demo").splitlines()[-1]


def test_way_of_a_message_is_shown_call_by_call_and_counted_leg_by_leg(stage: Stage) -> None:
    *listed, table = run(stage, "trace").split("\n\n")
    assert_calls_are_those_of_a_message(listed)
    heading, *rows, _ = table.splitlines()
    assert heading.split() == ["leg", "functions", "calls", "changes", "modules"]
    counts = [list(map(int, row.split()[-4:])) for row in rows]
    *legs, whole = counts
    assert len(legs) == 5
    assert whole[1] == sum(calls for _, calls, _, _ in legs)
    for functions, calls, changes, modules in counts:
        assert calls >= functions >= modules > 1
        assert calls > changes >= modules - 1


def assert_calls_are_those_of_a_message(legs: list[str]) -> None:
    reads, _, arrives, _, shown = (leg.splitlines()[1:] for leg in legs)
    # The way begins where the loop hands on the descriptor that can be read.
    assert [line.split()[0] for line in reads[:3]] == [
        "Reactor.turn",
        "Reactor._serve",
        "Reactor.call",
    ]
    assert [len(line) - len(line.lstrip()) for line in reads[:4]] == [4, 6, 8, 10]
    assert all(re.fullmatch(r" {4,}[\w.<>]+  chat/[\w/]+\.py:\d+", line) for line in reads)
    assert any("chat/server/room.py:" in line for line in arrives)
    assert any("chat/cipher.py:" in line for line in shown)
