"""A server on the loopback, and two members of good conduct in it."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.loopback import Company, Hall


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


@pytest.fixture
def company(hall: Hall) -> Company:
    return Company(hall)
