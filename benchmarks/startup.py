"""How long `python -m chat --help` takes beside `python -c pass`, which is Python alone."""

import os
import sys
import time

from benchmarks.load import Row, environment, spread

RUNS = 21
_HELP = ["-m", "chat", "--help"]
_NOTHING = ["-c", "pass"]


def measure() -> list[Row]:
    """Start the two in turns."""
    _run(_HELP)
    turns = [(_run(_HELP), _run(_NOTHING)) for _ in range(RUNS)]
    return [
        Row("python -m chat --help", spread([ours[0] for ours, _ in turns], "ms")),
        Row("  of it CPU", spread([ours[1] for ours, _ in turns], "ms")),
        Row("python -c pass", spread([python[0] for _, python in turns], "ms")),
        Row("  of it CPU", spread([python[1] for _, python in turns], "ms")),
    ]


def _run(arguments: list[str]) -> tuple[float, float]:
    """Milliseconds from the start to the end of a Python with these arguments, and of its CPU."""
    actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    began = time.perf_counter()
    child = os.posix_spawn(
        sys.executable, [sys.executable, *arguments], environment(), file_actions=actions
    )
    _, status, usage = os.wait4(child, 0)
    took = time.perf_counter() - began
    if status:
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return took * 1000, (usage.ru_utime + usage.ru_stime) * 1000
