"""Completion at the console."""

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
        ("kick Zoë  v", ["von der Leine"]),
        ("kick Zoe\u0308  von d", ["der Leine"]),
        ("kick j", ["Jean Luc", "Jean-Paul"]),
        ("kick jean l", ["Luc"]),
        ("kick jean Luc", ["Luc"]),
        ("kick jean luc ", []),
        ("kick ira j", []),
        ("WHO i", []),
        ("SAY i", []),
        ("nothing i", []),
    ],
)
def test_last_word_becomes_a_command_or_what_is_left_of_a_name(line: str, found: list[str]) -> None:
    assert completions(line, line.rfind(" ") + 1, COMMANDS) == found
