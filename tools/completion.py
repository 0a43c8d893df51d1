"""Write packaging/completion from the parser: what Tab completes in bash, zsh and fish.

    python -m tools.completion

The package shtab makes it. Here is only what it cannot know: which arguments are files, and where
the names of the kept rooms are. Those are read from the file, not asked from the program, which
would take a moment at each Tab; and no more than the names is read.
"""

import argparse
from pathlib import Path

import shtab

from chat.cli import parser
from chat.parsers import Command, Top

FOLDER = Path(__file__).parents[1] / "packaging/completion"
FILES = {"bash": "chatapp.bash", "zsh": "_chatapp", "fish": "chatapp.fish"}
"""Under these names the shells look for it."""

_NAMES = (
    r"""sed -n 's/^[[:space:]]*\([^#[:space:]][^[:space:]]*\)[[:space:]].*/\1/p' """
    r""""${XDG_CONFIG_HOME:-$HOME/.config}/chat/rooms" 2>/dev/null"""
)
_ROOMS = {"bash": "_chatapp_kept", "zsh": "_chatapp_kept", "fish": "(_chatapp_kept)"}
_PREAMBLE = {
    "bash": f'_chatapp_kept() {{\n  compgen -W "$({_NAMES})" -- "$1"\n}}\n',
    "zsh": f'_chatapp_kept() {{\n  compadd -- ${{(f)"$({_NAMES})"}}\n}}\n',
    "fish": (
        "function _chatapp_kept\n"
        "  set -l folder $XDG_CONFIG_HOME\n"
        '  test -n "$folder"; or set folder "$HOME/.config"\n'
        "  " + _NAMES.replace("${XDG_CONFIG_HOME:-$HOME/.config}", "$folder") + "\n"
        "end\n"
    ),
}


def scripts() -> dict[str, str]:
    """What each file in the folder should have in it, by its name."""
    top = parser()
    assert isinstance(top, Top)
    for command in top.commands.values():
        command.options()
        for action in command._actions:
            _complete(action, command)
    return {
        name: shtab.complete(top, shell, preamble=_PREAMBLE.get(shell, ""))
        for shell, name in FILES.items()
    }


def _complete(action: argparse.Action, command: Command) -> None:
    """Tell shtab what may stand there, by an attribute of which argparse knows nothing."""
    kinds = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
    if action.metavar in kinds:
        vars(action)["complete"] = kinds[action.metavar]
    elif action.dest == "words" and (command.goes_to_a_room or command.name == "rooms"):
        vars(action)["complete"] = _ROOMS


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in scripts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
