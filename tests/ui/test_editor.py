"""Where there is no library to edit a line with, or another one."""

import ctypes
import locale
import readline
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from chat.errors import EditorMissingError
from chat.ui.editor import LineEditor


def complete_nothing(line: str) -> tuple[int, list[str]]:
    return len(line), []


def refuse(_path: str) -> None:
    raise OSError("undefined symbol")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda patch: patch.setattr(readline, "__doc__", "Importing ... using libedit."),
        # It is part of the interpreter.
        lambda patch: patch.delattr(readline, "__file__"),
    ],
    ids=["libedit", "no file of its own"],
)
def test_what_is_no_library_of_gnu_is_not_used(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], None]
) -> None:
    spoil(monkeypatch)
    with pytest.raises(EditorMissingError, match="this Python has no GNU readline"):
        LineEditor(complete_nothing)


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (lambda _path: SimpleNamespace(), ".*rl_callback_handler_install"),
        (refuse, r"\(undefined symbol\)"),
    ],
    ids=["lacks a function", "cannot be loaded"],
)
def test_library_that_cannot_be_used_is_told_why(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[str], object], why: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(EditorMissingError, match=f"cannot be used {why}") as caught:
        LineEditor(complete_nothing)
    assert "gnureadline" in caught.value.hint


def test_gnureadline_is_used_where_python_has_another_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[str] = []
    spare = SimpleNamespace(__file__="/spare.so", __doc__="GNU readline")
    monkeypatch.setitem(sys.modules, "gnureadline", cast(ModuleType, spare))
    monkeypatch.setattr(readline, "__doc__", "using libedit")
    monkeypatch.setenv("TERMINFO_DIRS", "")
    monkeypatch.setattr(ctypes, "CDLL", used.append)
    with pytest.raises(EditorMissingError):
        LineEditor(complete_nothing)
    assert used == ["/spare.so"]


def test_system_without_a_locale_for_utf_8_has_no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_category: int, _name: str) -> None:
        raise locale.Error("unsupported locale setting")

    monkeypatch.setattr(locale, "nl_langinfo", lambda _item: "ANSI_X3.4-1968")
    monkeypatch.setattr(locale, "setlocale", refuse)
    with pytest.raises(EditorMissingError, match="has no locale for UTF-8"):
        LineEditor(complete_nothing)
