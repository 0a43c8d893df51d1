"""What the program calls itself in usages and hints."""

import sys

import pytest

from chat.program import PROGRAM, called, installing


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/src/chat/__main__.py", "python -m chat"),
        ("/home/ira/.local/bin/chatapp", "chatapp"),
        ("chatapp", "chatapp"),
        ("/lib/pytest/__main__.py", "chatapp"),
        ("-c", "chatapp"),
        ("", "chatapp"),
    ],
)
def test_program_is_called_as_it_was_started(path: str, name: str) -> None:
    assert called(path) == name


def test_package_is_added_to_the_python_that_runs_this() -> None:
    assert installing("segno") == f"{sys.executable} -m pip install segno"


def test_tests_see_the_command() -> None:
    assert PROGRAM == "chatapp"
