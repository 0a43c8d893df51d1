"""A draft of several rows, and what is left of it when the width of the terminal changes."""

from typing import cast
from unittest.mock import Mock

import pytest

from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui.editor import LineEditor
from chat.ui.live import LiveRows
from chat.ui.resizing import Resizing, resizing_of

XTERM = "xterm-256color"


@pytest.mark.parametrize(
    ("environ", "resizing"),
    [
        ({}, Resizing.UNKNOWN),
        ({"TERM": XTERM}, Resizing.UNKNOWN),
        ({"TERM": "rxvt-unicode", "VTE_VERSION": "7006"}, Resizing.UNKNOWN),
        ({"TERM": "alacritty"}, Resizing.WRAPS),
        ({"TERM": "screen", "TMUX": "/tmp/1,2,3"}, Resizing.WRAPS),
        ({"TERM": XTERM, "VTE_VERSION": "7006"}, Resizing.WRAPS),
        ({"TERM": XTERM, "VTE_VERSION": "7006", "WEZTERM_PANE": "0"}, Resizing.WRAPS),
        ({"TERM": XTERM, "KONSOLE_VERSION": "221203"}, Resizing.JOINS),
        ({"TERM": "xterm", "XTERM_VERSION": "XTerm(379)"}, Resizing.KEEPS),
        # One was started in the other, and nobody knows which.
        ({"TERM": XTERM, "KONSOLE_VERSION": "221203", "VTE_VERSION": "7006"}, Resizing.UNKNOWN),
        ({"TERM": XTERM, "XTERM_VERSION": "XTerm(379)", "VTE_VERSION": "7006"}, Resizing.UNKNOWN),
        ({"TERM": XTERM, "VTE_VERSION": "7006", "STY": "1.pts"}, Resizing.UNKNOWN),
    ],
)
def test_terminal_is_known_by_how_it_names_itself(
    environ: dict[str, str], resizing: Resizing
) -> None:
    assert resizing_of(environ) is resizing


@pytest.mark.parametrize(
    ("environ", "draft", "columns", "rows_above"),
    [
        # 12 characters in rows of 10 that become 5 or 20 long.
        ({"TERM": "xterm", "XTERM_VERSION": "1"}, "> 0123456789", 5, 1),
        ({"TERM": "xterm", "XTERM_VERSION": "1"}, "> 0123456789", 20, 1),
        ({"TERM": "tmux"}, "> 0123456789", 5, 2),
        ({"TERM": "tmux"}, "> 0123456789", 20, 0),
        ({"TERM": "xterm", "KONSOLE_VERSION": "1"}, "> 0123456789", 5, 0),
        ({"TERM": "xterm", "KONSOLE_VERSION": "1"}, "> 0123456789", 20, 0),
        # The line before the one that the cursor is in.
        ({"TERM": "xterm", "KONSOLE_VERSION": "1"}, "> 0123456\n0123456", 5, 2),
        ({"TERM": "xterm"}, "> 0123456789", 5, 1),
        ({"TERM": "xterm"}, "> 0123456789", 20, 0),
    ],
)
def test_draft_is_drawn_again_where_it_was_and_no_message_is_erased(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    draft: str,
    columns: int,
    rows_above: int,
) -> None:
    for name in ("TMUX", "STY", "KONSOLE_VERSION", "VTE_VERSION", "WEZTERM_PANE", "XTERM_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    output = Mock(columns=10, rows=24)
    editor = Mock(visible=True, before_cursor=draft, after_cursor="")
    editor.erase.return_value = b""
    live = LiveRows(
        cast(Reactor, Mock()), cast(LineOutput, output), cast(LineEditor, editor), lambda: "> "
    )
    output.columns = columns
    live.resize()
    (written,) = output.write_bytes.call_args_list[0].args
    up = b"\x1b[%dA" % rows_above if rows_above else b""
    assert written.partition(b"\x1b[C")[0] == b"\r" + up
