"""What `make demo` and `make trace` start does what it says."""

import re
import sys

from tests.support.processes import ROOT, Stage


def run(stage: Stage, tool: str, *arguments: str) -> str:
    """What a tool shows that ends well and complains of nothing."""
    command = [sys.executable, "-m", f"tools.{tool}", *arguments]
    status, out, err = stage.run(command, env={"PYTHONPATH": str(ROOT)}).end()
    assert (status, err) == (0, ""), out
    return out


def test_demo_finds_everything_as_expected(stage: Stage) -> None:
    assert "│ all as expected, in " in run(stage, "demo").splitlines()[-1]


def test_way_of_a_message_is_counted_leg_by_leg(stage: Stage) -> None:
    heading, *rows, _ = run(stage, "trace").splitlines()
    assert heading.split() == ["leg", "functions", "calls", "changes", "modules"]
    counts = [list(map(int, row.split()[-4:])) for row in rows]
    *legs, whole = counts
    assert len(legs) == 3
    assert whole[1] == sum(calls for _, calls, _, _ in legs)
    for functions, calls, changes, modules in counts:
        assert calls >= functions >= modules > 1
        assert calls > changes >= modules - 1


def test_way_of_a_message_is_shown_call_by_call(stage: Stage) -> None:
    out = run(stage, "trace", "--calls")
    legs = re.split(r"^\S.*\n", out, flags=re.MULTILINE)[1:]
    leaves, relayed, shown = legs
    assert "stdio." in leaves
    assert "server/room." in relayed
    assert "cipher." in shown
    assert all(leg.startswith("    reactor.Reactor.turn\n") for leg in legs)
