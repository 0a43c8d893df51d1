"""Runs one target for some time: `python -m tests.fuzz.worker TARGET SECONDS FOLDER`.

With `atheris`, inputs that reach new lines are kept in FOLDER, and the next run begins with them.
Without it, `hypothesis` makes inputs that know nothing of lines. Either way the input that found a
fault goes into the corpus, and the process ends with a traceback.
"""

import hashlib
import sys
import time
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz import choices

OPTIONS = ("-max_len=4096", "-timeout=60", "-rss_limit_mb=1024")
SLOWDOWN = 4.0
BEAT_SECONDS = 0.5


class Beat:
    """A target that counts its executions aloud, as libFuzzer does when it has found something."""

    def __init__(self, target: Callable[[bytes], None]) -> None:
        self._target = target
        self._count = 0
        self._next_at = 0.0

    def __call__(self, data: bytes) -> None:
        self._count += 1
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + BEAT_SECONDS
            print(f"#{self._count}", flush=True)
        self._target(data)


def with_atheris(name: str, seconds: str, folder: str) -> None:
    """Does not return."""
    import atheris

    choices.slowdown = SLOWDOWN
    with atheris.instrument_imports(include=["chat"]):
        from tests.fuzz.targets import CORPUS, TARGETS

    found = CORPUS / name
    found.mkdir(parents=True, exist_ok=True)
    ours = (f"-max_total_time={seconds}", f"-artifact_prefix={found}/", folder, str(found))
    atheris.Setup([sys.argv[0], *OPTIONS, *ours], Beat(TARGETS[name]))
    atheris.Fuzz()


def with_hypothesis(name: str, seconds: str) -> None:
    from tests.fuzz.targets import CORPUS, INPUTS, TARGETS

    target, last = Beat(TARGETS[name]), b""

    @settings(
        max_examples=100,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[*HealthCheck],
    )
    @given(INPUTS)
    def run(data: bytes) -> None:
        nonlocal last
        last = data
        target(data)

    end = time.monotonic() + int(seconds)
    try:
        while time.monotonic() < end:
            seed(time.monotonic_ns())(run)()
    except Exception:
        found = CORPUS / name / f"crash-{hashlib.sha1(last).hexdigest()}"
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(last)
        raise


if __name__ == "__main__":
    try:
        with_atheris(*sys.argv[1:])
    except ModuleNotFoundError:
        with_hypothesis(*sys.argv[1:3])
