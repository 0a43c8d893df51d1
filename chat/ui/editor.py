"""One line of input that a person edits, with GNU readline and its callback interface (The GNU
Readline Library, 2.4.12, Alternate Interface).

Readline draws into memory, so that the loop never waits for the terminal, and so that the line can
be erased and drawn again. What a line means is not decided here, and `library` has the library.
"""

import ctypes
import os
import re
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from chat.stdio import can_be_read, count_unread
from chat.ui.keys import ASK_FOR_FOCUS, ASK_NO_MORE, Keys
from chat.ui.library import LineHandler, MemoryStream, count_in_characters, load

Completer = Callable[[str], tuple[int, Sequence[str]]]
"""Given the line up to the cursor: where that begins which can be completed, and what it could
become."""

_Command = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)
_GetByte = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_IsMore = ctypes.CFUNCTYPE(ctypes.c_int)
_Breaks = ctypes.CFUNCTYPE(ctypes.c_void_p)

_ENDINGS = (b"accept-line", b"operate-and-get-next", b"insert-comment")
"""Readline's commands that end a line."""

_NEW_LINE_KEYS = (b"\\e\\C-m", b"\\e\\C-j")
"""Alt-Enter. Readline would switch to vi mode, and say nothing."""

_EDIT_KEYS = ((0, b"\\C-x\\C-e"), (1, b"\\C-x\\C-e"), (2, b"v"))
"""In which of `_KEYMAPS` which keys give the line to the person's own editor, as in bash."""

_CRASHING = (b"character-search", b"character-search-backward")
"""Readline's commands that take a key for an argument, and end the process if that key begins an
escape sequence that is bound to nothing (readline 8.2, when it is called back)."""

_PASTE_OFF = b"\x1b[?2004l\r"
"""What readline writes when a line is ended: pastes are not marked any more."""

_PASTE_BEGINS, _PASTE_ENDS = b"\\e[200~", b"\x1b[201~"

_KEYMAPS = (b"emacs-standard", b"vi-insert", b"vi-command")

_SETTINGS = {
    # A paste arrives between two marks, and stays one text however many lines it has.
    b"enable-bracketed-paste": b"on",
    # Otherwise readline would block until a key answers its question or asks for the next page.
    b"page-completions": b"off",
    b"completion-query-items": b"0",
    b"horizontal-scroll-mode": b"off",
}


_BLANK, _NOTHING = ctypes.c_char_p(b" "), ctypes.c_char_p(b"")
"""What ends a word that readline completes."""

_ASKING = 0x80 | 0x100 | 0x400
"""States in which readline shows a prompt of its own (RL_STATE_ISEARCH, _NSEARCH, _NUMERICARG)."""


class Line(NamedTuple):
    """A line that the person has finished."""

    text: str
    pasted: bool = False
    """Whether it begins with what was pasted."""


class LineEditor:
    """The line that is being typed.

    Methods that change what is on the screen return the bytes to write to the terminal, and these
    must be written in the order of the calls: readline assumes that its picture is shown.

    The states, and the methods that lead from one to another:

                      start           erase, leave_behind
        not running --------> visible --------------------> hidden
                                   ^                         | ^
                                   +---------- draw ---------+ |
                                                         pause v start
                                                             paused

        and from any of them, `stop` leads back to not running

    - Visible: the line stands on the screen. Hidden: it is kept, but other rows can be written;
      `read` draws it. In both, the terminal is in readline's mode (`_settings` holds the mode to
      return to), and `read` must be called whenever standard input can be read.
    - Paused: hidden, and the terminal is in its old mode. `pause` leads here from visible, too.
      `draw` and `read` must wait for `start`.
    - `measure` and `clear` must not be called while the line is visible: they would move
      the cursor in a line that readline believes to be on the screen.

    Three more states change what `read` does with a key:

    - Pasting (`_pasted` holds the text so far): bytes are collected up to the mark that ends the
      paste, and then inserted at once. `_first_paste` notes a paste at the beginning of the line.
    - Asking (`_ASKING`): readline shows a prompt of its own, for a search or a count. A prompt that
      is set meanwhile waits for it to end (`_has_prompt` is false until then).
    - Holding (`Keys.held`): what may be the beginning of a report of the focus waits for the next
      byte. In vi mode and while asking, Escape alone is a key, so `release` has to be called soon.

    Bytes go through `_keys` to `_ready`, and readline takes them from there (`_next_byte`).
    """

    def __init__(
        self,
        completer: Completer,
        typed: Callable[[str], str] = lambda pasted: pasted,
        on_focus: Callable[[bool], None] | None = None,
    ) -> None:
        """`typed`: maps a pasted line to what should be called back as if it had been typed.
        `on_focus`: told whether the window has the focus, when that changes and the terminal can
        tell; None: the terminal is not asked.

        Raises:
            EditorMissingError: this Python has no GNU readline, or an old one; or the system has no
                locale for UTF-8.
        """
        count_in_characters()
        self._completer = completer
        self._typed = typed
        self._matches: Sequence[str] = ()
        self._completed = ""
        self._completed_at = self._found_at = -1
        self._keys_read = 0
        """How many readline has read. The others say at which of them something was so."""
        self._running = False
        self._hidden = False
        self._prompt = b""
        self._has_prompt = True
        """Whether readline has been told the prompt."""
        self._settings: list[Any] | None = None
        self._submitted: list[Line] = []
        self._keys = None if on_focus is None else Keys(on_focus)
        self._ready = bytearray()
        self.took_key = False
        """Whether the last `read` gave readline something."""
        self._pasted: bytearray | None = None
        self._first_paste: _FirstPaste | None = None
        self.remembers = True
        """Whether finished lines can be called back."""
        self.ended = False
        """Whether the person has ended the input (Ctrl-D). Set it back, and it goes on."""
        self.wants_editor = False
        """Whether the person has asked for an editor of their own; to be set back by who obeys."""
        self._is_pasted = False
        self._unread = self._unread_before = 0
        """How many bytes could be read when a byte was, and when the byte before it was."""
        self._readline, self._lib = load()
        self._picture = MemoryStream(self._lib)
        self._on_line = LineHandler(self._ended_by)
        # Readline holds pointers to these, which Python cannot see: keep them alive.
        self._get_byte, self._is_more = _GetByte(self._next_byte), _IsMore(self._has_more)
        self._breaks = _Breaks(self._find_completions)
        self._commands: list[object] = []
        self._configure()

    def _configure(self) -> None:
        lib = self._lib
        ctypes.c_void_p.in_dll(lib, "rl_outstream").value = self._picture.stream
        if self._keys is not None:
            self._call_us("rl_getc_function", ctypes.cast(self._get_byte, ctypes.c_void_p))
            self._call_us("rl_input_available_hook", ctypes.cast(self._is_more, ctypes.c_void_p))
        readline = self._readline
        # Python has bound Tab to "insert"; the person's own init file has the last word.
        readline.parse_and_bind("tab: menu-complete")
        keymaps = [lib.rl_get_keymap_by_name(name) for name in _KEYMAPS]
        accept = _Command(lib.rl_named_function(b"accept-line"))
        new_line = self._command(self._on_new_line)
        new_line_in_vi = self._command(partial(self._on_new_line_in_vi, accept))
        for keys in _NEW_LINE_KEYS:
            lib.rl_bind_keyseq_in_map(keys, new_line, keymaps[0])
            for keymap in keymaps[1:]:
                lib.rl_bind_keyseq_in_map(keys, new_line_in_vi, keymap)
        edit = self._command(self._on_edit)
        for at, keys in _EDIT_KEYS:
            lib.rl_bind_keyseq_in_map(keys, edit, keymaps[at])
        with suppress(OSError):
            readline.read_init_file()
        # The loop handles signals, and the completer chooses the order.
        for variable in ("rl_catch_signals", "rl_catch_sigwinch", "rl_sort_completion_matches"):
            self._number(variable).value = 0
        for name, value in _SETTINGS.items():
            lib.rl_variable_bind(name, value)
        for crashing in filter(None, map(lib.rl_named_function, _CRASHING)):
            self._rebind(keymaps[0], crashing, None)
        for ending in filter(None, map(lib.rl_named_function, _ENDINGS)):
            command = self._command(partial(self._on_ending, _Command(ending)))
            for keymap in keymaps:
                self._rebind(keymap, ending, command)
        paste = self._command(self._on_paste)
        for keymap in keymaps:
            lib.rl_bind_keyseq_in_map(_PASTE_BEGINS, paste, keymap)
        self._call_us("rl_completion_word_break_hook", ctypes.cast(self._breaks, ctypes.c_void_p))
        readline.set_completer(self._complete)

    def _command(self, function: Callable[[int, int], int]) -> int | None:
        """A command that a key can be bound to."""
        command = _Command(function)
        self._commands.append(command)
        return ctypes.cast(command, ctypes.c_void_p).value

    def _number(self, name: str) -> ctypes.c_int:
        """One of readline's own numbers."""
        return ctypes.c_int.in_dll(self._lib, name)

    def _call_us(self, hook: str, function: ctypes.c_void_p) -> None:
        """Let readline call a function of ours."""
        ctypes.c_void_p.in_dll(self._lib, hook).value = function.value

    def _rebind(self, keymap: int, old: int, new: int | None) -> None:
        """Bind all keys of one function to another one."""
        sequences = self._lib.rl_invoking_keyseqs_in_map(old, keymap)
        for at in count():
            if not sequences or sequences[at] is None:
                return
            self._lib.rl_bind_keyseq_in_map(sequences[at], new, keymap)

    # -- on the screen, or not

    @property
    def visible(self) -> bool:
        """Whether the line stands on the screen."""
        return self._running and not self._hidden

    def hush(self) -> None:
        """Let the terminal show nothing of what is typed before `start`: it would stand among what
        the program shows."""
        if self._settings is None:
            self._settings = termios.tcgetattr(sys.stdin)
            hushed = [*self._settings]
            hushed[3] &= ~termios.ECHO
            termios.tcsetattr(sys.stdin, termios.TCSANOW, hushed)

    def start(self) -> bytes:
        """Take the terminal, and show the line; after `pause` it is for `draw` to show it."""
        if self._settings is None:
            self._settings = termios.tcgetattr(sys.stdin)
        # A signal key makes the terminal discard its input. A key that was reported to the loop
        # would be gone, and readline would block until the next one.
        kept = [*self._settings]
        kept[3] |= termios.NOFLSH
        termios.tcsetattr(sys.stdin, termios.TCSANOW, kept)
        if self._running:
            self._lib.rl_prep_terminal(1)
            return self._of_focus(ASK_FOR_FOCUS) + self._picture.take()
        self._running = True
        self._lib.rl_callback_handler_install(self._prompt, self._on_line)
        return self._of_focus(ASK_FOR_FOCUS) + self._picture.take()

    def pause(self) -> bytes:
        """Erase the line and give the terminal back, which must be ours; `start` continues with
        the same line."""
        data = self.erase()
        if self._running:
            self._lib.rl_deprep_terminal()
            data += self._of_focus(ASK_NO_MORE)
        self._give_back()
        return data + self._picture.take()

    def stop(self) -> bytes:
        """Erase the line and give the terminal back for good."""
        data = self.erase()
        if self._running:
            self._running = False
            self._lib.rl_callback_handler_remove()
            data += self._of_focus(ASK_NO_MORE)
        elif self._settings is not None:
            # Nobody has seen it, so it is not for the shell either.
            self.discard_typed_ahead()
        self._give_back()
        return data + self._picture.take()

    def discard_typed_ahead(self) -> None:
        """Discard what was typed and not read."""
        with suppress(termios.error):
            termios.tcflush(sys.stdin, termios.TCIFLUSH)

    def _of_focus(self, code: bytes) -> bytes:
        """What to write so that the terminal tells of the focus, or no more; nothing if nobody is
        told."""
        return b"" if self._keys is None else code

    def _give_back(self) -> None:
        if self._settings is not None:
            # If the terminal is gone there is nothing to give back.
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)
            self._settings = None

    def leave_behind(self) -> None:
        """Another program has used the terminal: do not erase the line where it was drawn."""
        self._hidden = True

    def erase(self) -> bytes:
        """Take the line from the screen. The cursor is then where the line began, at the left."""
        if not self.visible:
            return b""
        self._hidden = True
        self._lib.rl_clear_visible_line()
        return self._picture.take()

    def draw(self) -> bytes:
        """Show the line where the cursor is, at the left."""
        if not self._running:
            return b""
        self._hidden = False
        if not self._has_prompt and not self._number("rl_readline_state").value & _ASKING:
            self._has_prompt = True
            self._lib.rl_set_prompt(self._prompt)
        self._lib.rl_on_new_line()
        self._lib.rl_redisplay()
        return self._picture.take()

    def measure(self) -> None:
        """Learn the new size of the terminal. The line must be hidden."""
        assert not self.visible
        self._lib.rl_reset_screen_size()

    def prompt(self, text: str) -> None:
        """What stands before the line from the next `draw` on."""
        if (prompt := text.encode()) != self._prompt:
            self._prompt = prompt
            self._has_prompt = not self._running

    # -- what is typed

    @property
    def text(self) -> str:
        """What has been typed so far."""
        return _decoded(self._buffer)

    @property
    def shown_prompt(self) -> str:
        """What stands before the line now: the prompt, or that of a search."""
        shown = ctypes.c_char_p.in_dll(self._lib, "rl_display_prompt").value
        return (self._prompt if shown is None else shown).decode(errors="replace")

    @property
    def text_before(self) -> str:
        """The line up to the cursor."""
        return _decoded(self._buffer[: self._number("rl_point").value])

    @property
    def before_cursor(self) -> str:
        """The prompt, and the line up to the cursor."""
        return self.shown_prompt + self.text_before

    @property
    def after_cursor(self) -> str:
        """The rest of the line."""
        return _decoded(self._buffer[self._number("rl_point").value :])

    @property
    def _buffer(self) -> bytes:
        return os.fsencode(self._readline.get_line_buffer())

    def read(self) -> tuple[bytes, list[Line]]:
        """Take a key from standard input, or as much as there is of a paste. Returns also the lines
        that were finished by it; one key can stand for several.

        A hidden line is drawn first: readline shows only what a key changes in the line that it
        believes to be on the screen, and moves the cursor accordingly."""
        self.took_key = True
        self._unread_before, self._unread = self._unread, count_unread(sys.stdin.fileno())
        if self._pasted is None:
            return self._after(self._call_readline if self._keys is None else self._read_key)
        return self._after(partial(self._read_paste, self._pasted))

    def release(self) -> tuple[bytes, list[Line]]:
        """As `read`, for what was held: nothing has come behind it for a while."""
        if self._keys is not None:
            self._ready += self._keys.release()
        return self._after(self._use_ready)

    @property
    def release_seconds(self) -> float:
        """After how long `release` must be called, since what is held may be a whole key; 0: it may
        wait for the next byte. It is the time in which the person types a key of several bytes."""
        if self._keys is None or not self._keys.held:
            return 0.0
        is_vi = not self._number("rl_editing_mode").value
        if not is_vi and not self._number("rl_readline_state").value & _ASKING:
            return 0.0
        return int(self._lib.rl_variable_value(b"keyseq-timeout") or 0) / 1000

    def _after(self, step: Callable[[], None]) -> tuple[bytes, list[Line]]:
        shown = self.draw() if self._hidden else b""
        step()
        if not self._number("rl_end").value:
            self._first_paste = None
        submitted, self._submitted = self._submitted, []
        return shown + self._picture.take(), submitted

    def _read_key(self) -> None:
        if self._get_ready():
            self._use_ready()
        else:
            self._call_readline()

    def _get_ready(self) -> bool:
        """Read a byte. Returns whether there was one; otherwise it is the end, or an error."""
        assert self._keys is not None
        byte = b""
        with suppress(OSError):
            byte = os.read(sys.stdin.fileno(), 1)
        self._ready += self._keys.take(byte) if byte else b""
        return bool(byte)

    def _use_ready(self) -> None:
        self.took_key = bool(self._ready)
        while self._ready:
            self._call_readline()

    def _call_readline(self) -> None:
        self._keys_read += 1
        self._lib.rl_callback_read_char()

    def _next_byte(self, stream: int | None) -> int:
        """Called by readline. At the end it looks for itself, and knows what to do."""
        while not self._ready:
            if not self._get_ready():
                return int(self._lib.rl_getc(stream))
        return self._ready.pop(0)

    def _has_more(self) -> int:
        """Called by readline, to tell a key from the beginning of another one."""
        return int(bool(self._ready))

    def _on_new_line(self, times: int, _key: int) -> int:
        self._lib.rl_insert_text(b"\n" * max(1, times))
        return 0

    def _on_new_line_in_vi(self, accept: Callable[[int, int], int], times: int, key: int) -> int:
        """Alt-Enter; or Escape and then Enter, which are two commands: a terminal sends the two
        bytes of Alt-Enter at once."""
        if self._unread_before > 1:
            return self._on_new_line(times, key)
        return self._on_ending(accept, times, key)

    def _on_edit(self, _times: int, _key: int) -> int:
        self.wants_editor = True
        return 0

    def _on_paste(self, _times: int, _key: int) -> int:
        self._pasted = bytearray()
        return 0

    def _read_paste(self, pasted: bytearray) -> None:
        """Take what there is of a paste. Readline would block until its end."""
        while self._pasted is not None and can_be_read(sys.stdin.fileno()):
            byte = os.read(sys.stdin.fileno(), 1)
            pasted += byte
            if not byte or pasted.endswith(_PASTE_ENDS):
                self._pasted = None
                text = bytes(pasted.removesuffix(_PASTE_ENDS)).replace(b"\0", b"")
                self._insert(text.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))

    def _insert(self, pasted: bytes) -> None:
        if pasted and self._number("rl_point").value == 0:
            self._note_paste(_decoded(pasted))
        self._lib.rl_insert_text(pasted)
        self._lib.rl_redisplay()

    def _note_paste(self, text: str) -> None:
        first_word = re.match(r"\s*\S*", text)
        assert first_word is not None
        self._first_paste = _FirstPaste(first_word[0], self._lib.where_history())

    def _begins_with_paste(self, line: str) -> bool:
        """Whether a finished line still begins with what was pasted. The first word may have been
        edited since, or the line replaced by one from the history."""
        paste = self._first_paste
        return (
            paste is not None
            and line.startswith(paste.first_word)
            and paste.history_position == self._lib.where_history()
        )

    def put(self, text: str) -> None:
        """Let the line be this text, with the cursor at its end; the line must be hidden."""
        pasted = self._first_paste
        self.clear()
        self._lib.rl_replace_line(os.fsencode(text), 1)
        self._number("rl_point").value = self._number("rl_end").value
        # What began with a paste still does, if its first word is the same.
        self._first_paste = pasted

    def clear(self) -> None:
        """Empty the line, and end a search or whatever else was going on; it must be hidden."""
        assert not self.visible
        self._pasted = None
        self._ready.clear()
        if self._keys is not None:
            self._keys.clear()
        self._lib.rl_free_line_state()
        self._lib.rl_callback_sigcleanup()
        self._lib.rl_replace_line(b"", 1)
        self._number("rl_point").value = 0
        self._first_paste = None
        self._lib.using_history()
        self._has_prompt = False
        # Readline has moved the cursor within a line that is not on the screen: discard that.
        self._picture.take()

    def remember(self, line: str) -> None:
        """Add to what can be called back."""
        self._lib.add_history(_encoded(line))
        # Otherwise readline would take the new entry for the one being edited, and overwrite it.
        self._lib.using_history()

    def _on_ending(self, ending: Callable[[int, int], int], times: int, key: int) -> int:
        """Runs in place of a command that ends the line, and erases the line, which readline would
        leave on the screen."""
        self._is_pasted = self._begins_with_paste(self.text)
        self._lib.rl_clear_visible_line()
        erased = self._picture.take()
        status = ending(times, key)
        # Readline has moved the cursor below the line: discard that.
        self._picture.take()
        self._picture.put(erased)
        return status

    def _ended_by(self, line: int | None) -> None:
        # At the end of input readline begins a new row, and so it does from then on whenever a line
        # is ended: stay in this one.
        self._picture.put(self._picture.take().replace(_PASTE_OFF + b"\n", _PASTE_OFF))
        if line is None:
            self.ended = True
        else:
            text = _decoded(ctypes.string_at(line))
            self._lib.free(line)
            self._submitted.append(Line(text, self._is_pasted))
            remembered = self._typed(text) if self._is_pasted else text
            self._is_pasted, self._first_paste = False, None
            if remembered and self.remembers:
                # Now and not later: operate-and-get-next continues from it.
                self.remember(remembered)

    def _find_completions(self) -> int | None:
        """Called before a word is completed: find what it could become. Returns the characters that
        end a word. If the last word is not what is completed (a name may have blanks), the word is
        the whole line up to the cursor."""
        self._found_at = self._keys_read
        before = self.text_before
        self._matches = ()
        if before == self._completed and self._keys_read == self._completed_at + 1:
            # Only one thing was possible, and is there.
            self._completed_at = self._keys_read
            return ctypes.cast(_BLANK, ctypes.c_void_p).value
        begin, matches = self._completer(before)
        whole = [before[:begin] + match for match in matches]
        if len(whole) == 1:
            self._completed, self._completed_at = whole[0], self._keys_read
        is_last_word = begin == before.rfind(" ") + 1
        self._matches = matches if is_last_word else whole
        return ctypes.cast(_BLANK if is_last_word else _NOTHING, ctypes.c_void_p).value

    def _complete(self, _word: str, state: int) -> str | None:
        if self._found_at != self._keys_read:
            # At the beginning of the line there is no word, and readline does not look for one.
            self._find_completions()
        return self._matches[state] if state < len(self._matches) else None


def _encoded(line: str) -> bytes:
    """As the terminal would send it, with question marks for characters that it lacks."""
    return line.encode(sys.getfilesystemencoding(), errors="replace")


def _decoded(line: bytes) -> str:
    """What the person has typed, with lone surrogates, which cannot be sent, for bytes that are no
    character."""
    return line.decode(sys.getfilesystemencoding(), errors="surrogateescape")


class _FirstPaste(NamedTuple):
    """A paste at the beginning of the line: how to recognise that it is still there."""

    first_word: str
    history_position: int
