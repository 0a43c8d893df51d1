"""`python -m benchmarks.compare` measures what is installed, and says what it left out."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Stage

OURS, *OTHERS = ("chat", "textbook", "bare", "nats", "ngircd", "mosquitto")
NEEDED = {"bare": "cc", "nats": "nats-server", "ngircd": "ngircd", "mosquitto": "mosquitto"}


def is_here(name: str) -> bool:
    """Whether it can be run; those that speak TLS need a certificate, too."""
    needed = [NEEDED[name]] if name in NEEDED else []
    needed += ["openssl"] if name in ("nats", "ngircd", "mosquitto") else []
    path = f"{os.environ['PATH']}:/usr/sbin"
    return all(shutil.which(program, path=path) for program in needed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads the CPU clock of Linux")
def test_comparison_measures_what_is_installed(stage: Stage, tmp_path: Path) -> None:
    names = {OURS, *filter(is_here, OTHERS)}
    kept = tmp_path / "measured.json"
    command = [sys.executable, "-m", "benchmarks.compare", "--quick", "--sizes", "10"]
    command += ["--only", *names, "--json", str(kept)]
    status, out, err = stage.run(command, env={"PYTHONPATH": str(ROOT)}).end()
    assert (status, err) == (0, "")
    assert "left out" not in out
    measured = json.loads(kept.read_text())
    cost = {(cell["contender"], cell["work"]): min(cell["values"]) for cell in measured["cells"]}
    assert all(cost[name, work] > 0 for name in names for work in ("flood", "paced"))
    assert {delay["contender"] for delay in measured["delays"]} == names
