"""Runs the targets one after the other, and shows how far each has come."""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS

KEPT = Path(__file__).parents[2] / ".fuzz"
"""What the next run begins with: the inputs that reached something new."""


def fuzz(name: str, seconds: int) -> bool:
    """Run one target; returns whether it found nothing. On a terminal a line follows it in place;
    what the worker says is shown only if it ends badly."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(seconds), str(folder)]
    began, executions, edges, row = time.monotonic(), 0, "-", name
    said: list[str] = []
    in_place = sys.stdout.isatty()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            if not (count := re.match(r"#(\d+)(?:.*cov: (\d+))?", line)):
                said.append(line)
                continue
            executions, edges = max(executions, int(count[1])), count[2] or edges
            row = f"{name:14}{executions:>12,} executions{edges:>8} edges"
            if in_place:
                left = max(0.0, began + seconds - time.monotonic())
                print(f"\r{row}{left:6.0f} s left", end="\x1b[K", flush=True)
    found = worker.returncode != 0
    spent = f"{time.monotonic() - began:6.0f} s" + "   FOUND SOMETHING" * found
    print("\r\x1b[K" * in_place + row + spent, flush=True)
    print("".join(said[-40:] * found), end="")
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=5, help="for all of them together")
    options = parser.parse_args()
    names = options.targets or [*TARGETS]
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    each = max(1, round(options.minutes * 60 / len(names)))
    found = [name for name in names if not fuzz(name, each)]
    if found:
        print(f"What was found in {', '.join(found)} is in {CORPUS}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
