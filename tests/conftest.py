"""What holds for all tests."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from chat.reactor import Reactor
from tests.support.helpers import FakeClock

# How long an example takes, and how long it takes to think of one, depends on what else is running.
settings.register_profile("chat", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chat")

# What whoever starts the tests has set for the program must not change them.
for name in [name for name in os.environ if name.startswith("CHAT_")]:
    del os.environ[name]
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"

# Whoever starts the tests may have them ignore signals (`nohup` SIGHUP, a shell's background job
# SIGINT and SIGQUIT), or block some, and they would hand that on to the processes that they start.
signal.pthread_sigmask(signal.SIG_SETMASK, [])
# Python ignores two by itself.
for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reactor(clock: FakeClock) -> Iterator[Reactor]:
    """An event loop whose time is `clock`."""
    with contextlib.closing(Reactor(clock)) as reactor:
        yield reactor


@pytest.fixture(autouse=True)
def _sigttin_as_before() -> Iterator[None]:
    """Whoever reads from a terminal changes how this signal is handled."""
    handler = signal.getsignal(signal.SIGTTIN)
    yield
    signal.signal(signal.SIGTTIN, handler)
