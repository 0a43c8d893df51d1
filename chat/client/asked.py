"""What we have asked the server for as an operator, over one connection (PROTOCOL 5.1).

A command is sent once, now or not at all: what is asked for in one moment may be wrong in the next.
"""

from collections import deque

from chat.client.events import Answered
from chat.controls import Answer, Operate
from chat.errors import ProtocolError
from chat.limits import MAX_COMMAND_BYTES
from chat.text import check_size


class Asked:
    """The commands that the server has not answered. It answers them in their order."""

    def __init__(self) -> None:
        self._commands: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self._commands)

    def ask(self, command: str) -> bytes:
        """The encoded control message for a command.

        Raises:
            UsageError: it is too long, or no text.
        """
        check_size(command, "a command", MAX_COMMAND_BYTES)
        self._commands.append(command)
        return Operate(command).encode()

    def take(self, answer: Answer) -> Answered:
        """The server has answered.

        Raises:
            ProtocolError: nothing was asked.
        """
        if not self._commands:
            raise ProtocolError("an Answer to nothing")
        return Answered(self._commands.popleft(), answer.done, tuple(answer.text.split("\n")))

    def give_up(self) -> list[str]:
        """No answer can come any more. Returns the commands that have none."""
        commands = [*self._commands]
        self._commands.clear()
        return commands
