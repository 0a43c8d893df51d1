"""What holds for all tests that start processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Stage
from tests.support.redis import Redis


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder and the processes of one test."""
    with Stage(tmp_path) as stage:
        yield stage


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that keeps nothing on its disk."""
    with Redis(tmp_path) as redis:
        yield redis
