"""The tests run the same however they are started: under `nohup`, or as a background job."""

import subprocess
import sys

from tests.support.processes import ROOT

SPOIL = """
import os, signal, sys
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""

LOOK = """
import signal, subprocess, sys
import tests.conftest
subprocess.run([sys.executable, "-c", '''
import signal
print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
own = {signal.SIGPIPE, signal.SIGXFSZ}
print([n for n in signal.valid_signals() - own if signal.getsignal(n) is signal.SIG_IGN])
'''])
"""
"""Python ignores two by itself."""


def test_signals_that_are_ignored_or_blocked_at_the_start_reach_what_tests_start() -> None:
    command = [sys.executable, "-c", SPOIL, LOOK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")
