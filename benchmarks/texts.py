"""Messages of 16 KiB that somebody could send to make others busy, one of each kind."""

from chat.limits import MAX_TEXT_BYTES


def _full_of(piece: str, begin: str = "", end: str = "") -> str:
    room = MAX_TEXT_BYTES - len((begin + end).encode())
    return begin + piece * (room // len(piece.encode())) + end


TEXTS = {
    "words": _full_of("lorem ipsum "),
    "Cyrillic words": _full_of("достопримечательность "),
    "blanks": _full_of(" ", "a"),
    "blanks of all kinds": _full_of(" \u00a0\u3000\u2003\t", "a"),
    "tabs": _full_of("\t", "a"),
    "tabs before letters": _full_of("\té"),
    "marks": _full_of("\u0301\u0316", "a"),
    "30 marks a letter": _full_of("e" + "\u0301\u0316" * 15),
    "joiners": _full_of("\u200d\u200c"),
    "jamo": _full_of("\u1100\u1161\u11a8"),
    "emoji that are joined": _full_of("👨\u200d"),
    "a long word": _full_of("x"),
    "a long word of ideographs": _full_of("漢"),
    "16,384 lines": _full_of("\n"),
    "control characters": _full_of("\0"),
    "direction marks": _full_of("\u202e"),
    "all different": "".join(map(chr, range(0x4E00, 0x4E00 + MAX_TEXT_BYTES // 3))),
    "private characters": "".join(map(chr, range(0xF0000, 0xF0000 + MAX_TEXT_BYTES // 4))),
    "names": _full_of("ira"),
    "a mixture": _full_of("a\t\u0301\u3000漢\n\x1b \u200d🇦д"),
}
