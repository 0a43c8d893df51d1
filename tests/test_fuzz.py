"""Every target of the fuzzer, with a few inputs that are the same each time, and with those that
once found a fault."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.fuzz.targets import CORPUS, INPUTS, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_a_few_inputs(name: str) -> None:
    @settings(max_examples=100, derandomize=True, database=None)
    @given(INPUTS)
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: path.parent.name)
def test_what_was_found_once_is_found_no_more(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
