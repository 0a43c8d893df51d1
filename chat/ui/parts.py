"""A text that is longer than a message may be, in parts that are not."""

from chat.limits import MAX_TEXT_BYTES


def parts_of(text: str) -> list[str]:
    """The parts, in order. They end where lines do; a line that is too long ends behind a blank, or
    else between two characters. Parts in which nothing can be seen are left out."""
    parts: list[str] = []
    lines: list[str] = []
    size = 0
    for line in text.split("\n"):
        *full, line = _pieces(line)
        needed = len(line.encode()) + 1
        if lines and (full or size + needed > MAX_TEXT_BYTES + 1):
            parts.append("\n".join(lines))
            lines, size = [], 0
        parts += full
        lines.append(line)
        size += needed
    parts.append("\n".join(lines))
    return [part for part in parts if part.strip()]


def _pieces(line: str) -> list[str]:
    """The line, in pieces that fit into a message."""
    pieces = []
    rest = line.encode()
    while len(rest) > MAX_TEXT_BYTES:
        piece = rest[:MAX_TEXT_BYTES]
        if (blank := piece.rfind(b" ")) > MAX_TEXT_BYTES // 2:
            piece = piece[: blank + 1]
        text = piece.decode(errors="ignore")
        pieces.append(text)
        rest = rest[len(text.encode()) :]
    return [*pieces, rest.decode()]
