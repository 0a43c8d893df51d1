"""Text on its way to the screen, and lines on their way from the keyboard. A cost that is too high
is a fault here: a peer may say 16 KiB, and say it often."""

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from chat.client.events import MessageReceived, NoticeReceived
from chat.errors import UsageError
from chat.limits import MAX_TEXT_BYTES
from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.text import action_of, caseless, escape, escape_line, fold_name, is_blank, normalize_name
from chat.ui import transcript
from chat.ui.jsonlines import JsonView, fields_of
from chat.ui.style import Colours, Painter
from chat.ui.wrap import at_most, columns_of, cut, width_of
from chat.wire import clip_text
from tests.fuzz.choices import Choices, cheap
from tests.support.conversation import NotedClient, commands_of
from tests.support.helpers import FakeClock

_PIECES = (
    *("a", " ", "\n", "\t", "word ", "Ira", "é", "e\u0301", "\u0301", "\u0345", "\u200d", "\u200c"),
    *("漢", "✨", "\ufe0f", "\x1b[2J", "\u202e", "\u2028", "\x01ACTION ", "\x01", "/", "https://"),
    *("\u1100\u1161\u11a8", "\U0001d15e", "\ufdfa", "\U0001f468\u200d", "\u0e33", "*", ":", ". "),
)
_ACTS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_OURS = re.compile(r"\x1b\[[0-9;?]*[mlh]")


def _text(choices: Choices) -> str:
    """Up to 16 KiB: a few pieces, each once or very often, and all of them once or very often."""
    data = b""
    for _ in range(choices.number(16)):
        piece = chr(choices.number(0x110000)) if choices.number(4) == 3 else choices.pick(_PIECES)
        data += piece.encode(errors="ignore") * choices.pick((1, 1, 2, 29, 31, 400, MAX_TEXT_BYTES))
        data = data[:MAX_TEXT_BYTES]
    times = choices.pick((1, 1, 2, MAX_TEXT_BYTES // (len(data) + 1)))
    return clip_text((data * times).decode(errors="ignore"), MAX_TEXT_BYTES)


def text(data: bytes) -> None:
    """Nothing of what a peer says acts on the terminal, and all of it is cheap."""
    choices = Choices(data)
    said, name = _text(choices), _text(choices)[:32]
    columns, rows = choices.pick(((80, 24), (20, 3), (1, 24), (None, None)))
    escaped = cheap(lambda: escape(said))
    assert not _ACTS.search(escaped)
    assert escape(escaped) == escaped
    assert width_of(cheap(lambda: cut(escaped, 40)), at_most) <= 40
    folds: list[Callable[[str], object]] = [caseless, is_blank, action_of, fold_name]
    work = choices.pick([*folds, columns_of, transcript.pending])
    cheap(lambda: work(said))
    colours, is_dumb = choices.pick([*Colours]), bool(choices.number(2))
    event: MessageReceived | NoticeReceived = NoticeReceived(said)
    if choices.number(2):
        event = MessageReceived(name, 0, said, own=False, number=1, to=name[1:])

    def paint() -> list[str]:
        # A painter remembers whether it has found the name in this message.
        painter = Painter(name, colours, "%H:%M", is_dumb=is_dumb)
        return painter.paint(event, columns, window_rows=rows)

    painted = cheap(paint)
    assert not any(_ACTS.search(_OURS.sub("", row)) for row in painted)
    assert columns is None or not any("\n" in row for row in painted)
    assert json.loads(json.dumps(fields_of(event)))
    with suppress(UsageError):
        name = cheap(lambda: normalize_name(said))
        assert normalize_name(name) == escape_line(name) == name
        assert fold_name(name) == fold_name(said) == fold_name(fold_name(name))


# -- what is typed -----------------------------------------------------------------------------


@cache
def _output() -> tuple[Reactor, LineOutput]:
    reactor = Reactor(FakeClock())
    return reactor, LineOutput(reactor, os.open(os.devnull, os.O_WRONLY), "utf-8")


def _line(choices: Choices, *beginnings: str) -> str:
    begin = choices.pick(beginnings)
    raw = choices.number(2)
    return begin + (choices.rest().decode(errors="surrogateescape") if raw else _text(choices))


def lines(data: bytes) -> None:
    """What a person types is sent, obeyed or refused."""
    line = _line(
        Choices(data), "", "/", "/ignore ", "/unignore ", "/me ", "/more ", "/msg ", "/r ", "//"
    )
    commands = commands_of(NotedClient())
    typed = cheap(lambda: commands.typed(line))
    assert not typed or commands.message_of(typed) == line
    assert not cheap(lambda: commands.can_send(line)) or commands.message_of(line)
    with suppress(UsageError):
        cheap(lambda: commands.take(line))
    cheap(lambda: commands.completions(line))


def json_lines(data: bytes) -> None:
    """A program's line is a command, a message, or refused and counted."""
    choices = Choices(data)
    line = _line(
        choices,
        "",
        "{",
        '{"say":',
        '{"me":"',
        '{"who":',
        '{"direct":{"to":"Thea",',
        "[" * 9_000,
        '{"a":' * 3_000,
    )
    view, client = JsonView(_output()[0], None, _output()[1], Painter()), NotedClient()
    view.open(client)
    cheap(lambda: view._is_message(line))
    cheap(lambda: view._leaves(line))
    view._on_line(line)
    assert len(client.noted) + view.not_sent + view.not_commands <= 1
