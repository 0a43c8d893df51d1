"""What holds for the tests of what a person sees."""

from collections.abc import Iterator

import pytest

from chat import localtime


@pytest.fixture
def half_past(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local zone is five and a half hours ahead of UTC."""
    monkeypatch.setenv("TZ", "IST-5:30")
    localtime.look_again()
    yield
    monkeypatch.undo()
    localtime.look_again()
