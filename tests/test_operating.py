"""What the document for operators, the units and the Containerfile name exists."""

import re
import shlex
from pathlib import Path

import pytest

from chat.cli import parser
from chat.parsers import Top
from chat.server.cluster.url import PASSWORD_VARIABLE
from chat.settings import variable_of

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/OPERATING.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4,}chatapp (.+)$", DOCUMENT, flags=re.M)


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_one(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name of whoever runs the tests may be none for a room.
    monkeypatch.setenv("CHAT_NAME", "Ira")
    parser().parse_args(shlex.split(command))


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT,
        *((ROOT / name).read_text() for name in ("Containerfile", "packaging/chatapp.service")),
    ],
    ids=["document", "Containerfile", "service"],
)
def test_variables_are_those_of_options(text: str) -> None:
    top = parser()
    assert isinstance(top, Top)
    options = [action for one in top.commands.values() for action in one.options().values()]
    named = set(re.findall(r"CHAT_[A-Z_]+", text))
    assert named
    assert named <= {variable_of(action) for action in options} | {PASSWORD_VARIABLE}


@pytest.mark.parametrize("path", re.findall(r"packaging/[\w./-]+\.\w+", DOCUMENT))
def test_files_are_there(path: str) -> None:
    assert (ROOT / path).exists()
