"""Write `chat/lookalikes.py` from the data files of Unicode.

    python -m tools.lookalikes CONFUSABLES PROPLIST > chat/lookalikes.py && make fix

CONFUSABLES is `confusables.txt` (UTS 39), PROPLIST is `PropList.txt` (UAX 44). Both are published
with each version of Unicode, and come with ICU and the system's Unicode data, too. The program
never reads them: what it needs is in the module, with the version.

A name is folded before its letters are looked up (`text.fold_name`), so the table has only letters
that folding leaves alone, and what it has for them is folded and has no further entry. A capital
letter is seen as well: that of Cyrillic ve looks like B, but its small letter does not look like b.
Then the small letter counts for b. Only if it has an ASCII look-alike of its own it does not (that
of Greek nu looks like v, and its capital like N), since v and n would be the same otherwise.
"""

import re
import sys
import textwrap
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from chat.text import caseless_name

HEAD = '''"""Characters that look alike, and punctuation that ends a sentence: data of Unicode.

Made by `tools/lookalikes.py`; do not edit. `text` is the only module that needs it, and imports it
when the first name is looked at, since that takes some milliseconds.

{notice}
"""

UNICODE_VERSION = "{version}"
"""The version of `confusables.txt` from which this was made."""

_ALIKE = {{
{alike}
}}

LOOKALIKES = {{ord(char): text for text, chars in _ALIKE.items() for char in chars}}
"""What to take for a character of a folded name, for `str.translate`."""

TERMINALS = frozenset(
{terminals}
)
"""Full stops, commas, colons, semicolons, question and exclamation marks and asterisks of all
scripts, and what looks like a comma, a colon or an asterisk; without the ASCII full stop."""
'''

NOTICE = """\
The data is Copyright © 1991-2025 Unicode, Inc., under the Unicode License v3. Permission is
hereby granted, free of charge, to any person obtaining a copy of data files and any associated
documentation (the "Data Files") or software and any associated documentation (the "Software")
to deal in the Data Files or Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, and/or sell copies of the Data Files or
Software, and to permit persons to whom the Data Files or Software are furnished to do so,
provided that either (a) this copyright and permission notice appear with all copies of the Data
Files or Software, or (b) this copyright and permission notice appear in associated
Documentation.

THE DATA FILES AND SOFTWARE ARE PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A
PARTICULAR PURPOSE AND NONINFRINGEMENT OF THIRD PARTY RIGHTS."""

PUNCTUATION = re.compile(
    r"\b(COLON|SEMICOLON|COMMA|ASTERISK|QUESTION MARK|EXCLAMATION MARK|FULL STOP)\b(?! SIGN)"
)
WIDTH = 84


def rows(path: Path) -> Iterator[list[str]]:
    """The fields of each line of a data file."""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if data := line.partition("#")[0].strip():
            yield [field.strip() for field in data.split(";")]


def prototypes(path: Path) -> dict[str, str]:
    """The character that `confusables.txt` gives for each one that looks like it."""
    return {
        chr(int(source, 16)): "".join(chr(int(code, 16)) for code in target.split())
        for source, target, *_ in rows(path)
    }


def settled(text: str, step: Callable[[str], str]) -> str:
    """The text after as many steps as change something."""
    while (after := step(text)) != text:
        text = after
    return text


def table_of(prototype: Mapping[str, str]) -> dict[str, str]:
    """What to take for each folded character that looks like another."""

    def step(text: str) -> str:
        return caseless_name("".join(prototype.get(char, char) for char in text))

    folded = {char for source in prototype for char in caseless_name(source)}
    table = {char: settled(char, step) for char in folded}
    for capital, look in capitals(prototype, table, step):
        small = table.get(capital, capital)
        table = {source: target.replace(small, look) for source, target in table.items()}
        table.setdefault(small, look)
    return {source: target for source, target in table.items() if source != target}


def capitals(
    prototype: Mapping[str, str], table: Mapping[str, str], step: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """The small letters of capitals that look like ASCII, and what their capitals look like."""
    for source in sorted(prototype):
        small, look = caseless_name(source), settled(prototype[source], step)
        if unicodedata.category(source) == "Lu" and len(small) == 1 and look.isascii():
            taken_for = table.get(small, small)
            if len(taken_for) == 1 and not taken_for.isascii():
                yield small, look


def terminals(proplist: Path, table: Mapping[str, str]) -> set[str]:
    """What ends a sentence, or looks like what ends a name."""
    found, looks = set(), str.maketrans(dict(table))
    for codes, name, *_ in rows(proplist):
        if name == "Terminal_Punctuation":
            first, _, last = codes.partition("..")
            found |= set(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    for char in map(chr, range(sys.maxunicode + 1)):
        kind, name = unicodedata.category(char)[0], unicodedata.name(char, "")
        named = kind in "PS" and PUNCTUATION.search(name) and " WITH " not in name
        look = unicodedata.normalize("NFKC", char).translate(looks)
        if named or look in (",", ":", "*"):
            found.add(char)
    return {char for char in found if unicodedata.normalize("NFKC", char).strip(".")}


def quoted(text: str) -> str:
    """A string literal."""
    return '"' + ascii(text)[1:-1].replace('"', r"\"").replace(r"\'", "'") + '"'


def literals(chars: Iterable[str], indent: str) -> Iterator[str]:
    """String literals, each on a line of its own, that have all these characters together."""
    codes = " ".join(quoted(char)[1:-1] for char in chars)
    for line in textwrap.wrap(codes, WIDTH, break_on_hyphens=False):
        yield f'{indent}"{line.replace(" ", "")}"'


def entries(table: Mapping[str, str]) -> Iterator[str]:
    """The table as lines of a dictionary: what looks like each text."""
    alike = defaultdict(list)
    for source, target in sorted(table.items()):
        alike[target].append(source)
    for target, chars in sorted(alike.items()):
        key, lines = quoted(target), list(literals(chars, " " * 4))
        if len(lines) == 1:
            yield f"    {key}: {lines[0].strip()},"
        else:
            yield f"    {key}: (\n" + "\n".join(f"    {line}" for line in lines) + "\n    ),"


def main(arguments: Iterable[str]) -> None:
    confusables, proplist = map(Path, arguments)
    version = confusables.read_text(encoding="utf-8-sig").partition("Version: ")[2].split()[0]
    table = table_of(prototypes(confusables))
    marks = "\n".join(literals(sorted(terminals(proplist, table)), " " * 4))
    alike = "\n".join(entries(table))
    print(HEAD.format(notice=NOTICE, version=version, alike=alike, terminals=marks), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
