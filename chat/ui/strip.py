"""The output of tools as it would look in the end: without colours, and with the last state of a
progress bar (`--strip`).

Only what happens within one line is followed: a terminal would also move to other lines.
"""

import re

_CODES = re.compile(
    # CSI with parameters; strings (OSC, DCS, SOS, PM, APC) up to their end, to the next code, which
    # ends them at a terminal, too, or to the end of the line; two or three characters (ECMA-35,
    # 13.2: Fs, Fe, nF).
    r"(?:\x1b\[|\x9b)(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~]?)"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c]*(?:[\x07\x18\x1a\x9c]|\x1b\\|(?=\x1b)|$)"
    r"|\x1b[ -/]*[0-~]?"
)
_TOKENS = re.compile(rf"{_CODES.pattern}|[\r\b]|[^\x1b\x80-\x9f\r\b]+|.", re.DOTALL)
_CONTROL = dict.fromkeys((*range(9), *range(10, 32), *range(127, 160)))


def strip(text: str) -> str:
    """The text as a terminal would show it in the end, line by line, without colours."""
    return "\n".join(map(_line, text.replace("\r\n", "\n").split("\n")))


def _line(line: str) -> str:
    if line.isprintable():
        return line
    cells: list[str] = []
    at = 0
    for token in _TOKENS.finditer(line):
        piece = token[0]
        if piece == "\r":
            at = 0
        elif piece == "\b":
            at = max(0, at - 1)
        elif token["final"] == "K" and token["parameters"] in ("", "0", "2"):
            # EL (ECMA-48, 8.3.41). Whatever erases all of a line then begins it anew.
            at = 0 if token["parameters"] == "2" else at
            del cells[at:]
        elif token["final"] in ("C", "D", "G"):
            at = _moved(at, token["parameters"], token["final"], len(cells))
        elif piece[0] != "\x1b" and not "\x80" <= piece[0] <= "\x9f":
            seen = piece.translate(_CONTROL)
            cells[at : at + len(seen)] = seen
            at += len(seen)
    return "".join(cells).rstrip(" ") if "\r" in line else "".join(cells)


def _moved(at: int, count: str, final: str, end: int) -> int:
    """The column after CUF, CUB or CHA (ECMA-48, 8.3.20, 8.3.18, 8.3.9), never past what is there:
    however far a tool goes, it makes no blanks.
    """
    if count.strip("0123456789"):
        return at
    # No line is as long as six digits say; a number of any length would take time.
    by = max(1, int(count.lstrip("0")[:6] or 1))
    to = {"C": at + by, "D": at - by, "G": by - 1}[final]
    return min(max(0, to), end)
