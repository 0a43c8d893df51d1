"""Completion at the console."""

import re

import pytest

from chat.server.completion import completions

COMMANDS = {
    "WHO": None,
    "KICK": ["Ira", "Jean Luc", "Jean-Paul", "Zoë  von der Leine"],
    "SAY": [],
    "STATS": None,
}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", ["WHO", "KICK ", "SAY ", "STATS"]),
        ("  s", ["SAY ", "STATS"]),
        ("Who", ["WHO"]),
        ("x", []),
        ("KICK ", COMMANDS["KICK"]),
        ("kick i", ["Ira"]),
        ("kick  ZOE", ["Zoë  von der Leine"]),
        ("kick  ZOË", ["Zoë  von der Leine"]),
        ("kick Zoë  v", ["Zoë  von der Leine"]),
        ("kick Zoe\u0308  von d", ["Zoë  von der Leine"]),
        ("kick j", ["Jean Luc", "Jean-Paul"]),
        ("kick jean l", ["Jean Luc"]),
        ("kick jean Luc", ["Jean Luc"]),
        ("kick jean luc ", []),
        ("kick ira j", []),
        ("WHO i", []),
        ("SAY i", []),
        ("nothing i", []),
    ],
)
def test_line_is_completed_to_a_command_or_a_whole_name(line: str, found: list[str]) -> None:
    begin, words = completions(line, COMMANDS)
    assert words == found
    command = re.match(r"\s*(\S+\s+)?", line)
    assert command is not None
    assert begin == command.end()
