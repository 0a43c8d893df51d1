"""GNU readline: the library that comes with Python's module, and what we call in it.

Python's `readline` module, or the package `gnureadline`, brings it. Through `ctypes` we call the
functions that it has for programs with an event loop of their own. What they are used for is in
`editor`.
"""

import ctypes
import locale
import os
import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from chat.errors import EditorMissingError
from chat.program import installing

LineHandler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_MODULES = ("readline", "gnureadline")
"""Where the library is, if it is GNU's. The second is a package, for Pythons that lack it."""

_TERMINFO_DIRS = ":/etc/terminfo:/lib/terminfo:/usr/share/terminfo"
"""Where systems describe their terminals; the library of that package looks in one place only."""

_HINT = f"{installing('gnureadline')} brings one"

_UTF_8_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8", "en_US.UTF-8")
"""What systems call a locale that has UTF-8; the first three are those of PEP 538."""

_VARIABLES = (
    "rl_outstream",
    "rl_readline_state",
    "rl_point",
    "rl_end",
    "rl_catch_signals",
    "rl_catch_sigwinch",
    "rl_sort_completion_matches",
    "rl_completion_word_break_hook",
    "rl_editing_mode",
    "rl_getc_function",
    "rl_input_available_hook",
    "rl_display_prompt",
)


class MemoryStream:
    """A stream of the C library that collects in memory what is written to it.

    The library allocates the memory, and moves it when it grows; `_start` and `_size` are right
    only after `fflush`. `rewind` sets the size back, so that the memory is used again.
    """

    def __init__(self, lib: ctypes.CDLL) -> None:
        self._lib = lib
        self._start = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        self.stream: int = lib.open_memstream(ctypes.byref(self._start), ctypes.byref(self._size))
        self._put = b""

    def take(self) -> bytes:
        """What was written since the last time."""
        self._lib.fflush(self.stream)
        data = self._put
        self._put = b""
        if self._size.value:
            data += ctypes.string_at(self._start, self._size.value)
            self._lib.rewind(self.stream)
        return data

    def put(self, data: bytes) -> None:
        """Put bytes back, to be taken before what is written next."""
        self._put += data


def count_in_characters() -> None:
    """Let readline take the terminal for one with UTF-8 where Python does.

    Python does so as well in the locales C and POSIX, and where LC_ALL names a locale that is not
    installed, as after an ssh from another machine (PEP 540). Readline goes by LC_CTYPE, which is C
    there: it would take each byte for a character, and cut characters in two. Whenever a line
    begins, it sets LC_CTYPE again to what the environment says, so that has to change as well.
    """
    if not _is_utf_8(sys.getfilesystemencoding()) or _is_utf_8(locale.nl_langinfo(locale.CODESET)):
        return
    for name in _UTF_8_LOCALES:
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, name)
            os.environ["LC_ALL"] = name
            return
    raise EditorMissingError("this system has no locale for UTF-8")


def _is_utf_8(encoding: str) -> bool:
    return encoding.lower().replace("-", "") == "utf8"


def load() -> tuple[ModuleType, ctypes.CDLL]:
    """Python's module, and the library that came with it."""
    why = EditorMissingError("this Python has no GNU readline", _HINT)
    for name in _MODULES:
        if name == "gnureadline":
            os.environ.setdefault("TERMINFO_DIRS", _TERMINFO_DIRS)
        try:
            module = import_module(name)
        except ImportError:
            continue
        path = getattr(module, "__file__", None)
        if path and "libedit" not in (module.__doc__ or ""):
            try:
                return module, _library(path)
            except (OSError, AttributeError, ValueError) as error:
                text = f"the readline of this Python cannot be used ({error})"
                why = EditorMissingError(text, _HINT)
    raise why


def _library(path: str) -> ctypes.CDLL:
    """Raises OSError, AttributeError or ValueError if it cannot be loaded or lacks something."""
    lib = ctypes.CDLL(path)
    pointer, number, string = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "rl_callback_handler_install": (None, [string, LineHandler]),
        "rl_callback_handler_remove": (None, []),
        "rl_callback_read_char": (None, []),
        "rl_getc": (number, [pointer]),
        "rl_callback_sigcleanup": (None, []),
        "rl_free_line_state": (None, []),
        "rl_prep_terminal": (None, [number]),
        "rl_deprep_terminal": (None, []),
        "rl_clear_visible_line": (number, []),
        "rl_on_new_line": (number, []),
        "rl_insert_text": (number, [string]),
        "rl_redisplay": (None, []),
        "rl_reset_screen_size": (None, []),
        "rl_set_prompt": (number, [string]),
        "rl_replace_line": (None, [string, number]),
        "rl_variable_bind": (number, [string, string]),
        "rl_variable_value": (string, [string]),
        "rl_named_function": (pointer, [string]),
        "rl_get_keymap_by_name": (pointer, [string]),
        "rl_invoking_keyseqs_in_map": (ctypes.POINTER(string), [pointer, pointer]),
        "rl_bind_keyseq_in_map": (number, [string, pointer, pointer]),
        "add_history": (None, [string]),
        "using_history": (None, []),
        "where_history": (number, []),
        "open_memstream": (pointer, [pointer, pointer]),
        "fflush": (number, [pointer]),
        "rewind": (None, [pointer]),
        "free": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    for name in _VARIABLES:
        ctypes.c_void_p.in_dll(lib, name)
    return lib
