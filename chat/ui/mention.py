"""Where a text says a name: as a whole word, in any case.

In scripts that are written without blanks a name stands between letters, as in "太郎さん". There a
letter ends no word and begins none.
"""

import re

from chat.text import caseless

_WITHOUT_BLANKS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai
    "\ua980-\ua9df\u1b00-\u1b7f"  # Javanese, Balinese
    "\u3005-\u3007\u3031-\u3035\u303b\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Kana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Letters and marks of scripts that put no blanks between words (Unicode, UAX 14: SA and ID)."""

_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u17b6-\u17d3\u3099\u309a"
)
"""Those that change the letter before them: with one of them it is another letter."""

_LETTER = rf"[^\W{_WITHOUT_BLANKS}]"


def pattern_of(name: str) -> re.Pattern[str]:
    """Finds the name in a text that is `caseless`; finds nothing if the name is empty."""
    name = caseless(name)
    if not name:
        return re.compile("(?!)")
    first, last = (re.match(f"[{_WITHOUT_BLANKS}]", char) for char in (name[0], name[-1]))
    name = re.escape(name)
    behind = rf"(?![{_MARKS}])" if last else rf"(?!{_LETTER})"
    # A pattern that begins with plain text is found faster, so the letter before comes last.
    before = "" if first else rf"(?<!{_LETTER}{name})"
    return re.compile(f"{name}{behind}{before}")
