"""What was measured, in words and tables: for a terminal, and for the documents.

In README.md and docs/SCALING.md the generated part stands between two comments, `<!-- NAME: made by
make compare -->` and `<!-- /NAME -->`. What stands there is made of the data alone, so a contender
that is better than this program is named as that.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.compare.results import OURS, UNITS, Cell, Measured
from benchmarks.compare.study import CONTENDERS, DELAYS_AT
from benchmarks.load import ROOT, short
from tools.capacity import Model

HEADINGS = {
    "flood": "a delivery in a flood",
    "paced": "a delivery at a steady pace",
    "fill": "a join while the room fills, on average",
    "join": "a join into the full room",
    "idle": "memory of an idle member",
}
_TITLES = {each.name: each.title for each in CONTENDERS}
_SHORT = {each.name: each.short for each in CONTENDERS}
_PEERS = tuple(each.name for each in CONTENDERS if each.encrypts)
NOTHING = "—"
"""Where nothing was measured."""

IDLE_FROM = 300
"""With fewer members a process grows by the steps of its allocator, and not by what they need: then
nothing is said of the memory of one."""

_ALIKE = 1.1
"""Figures that differ by less are about the same."""


def _cell(measured: Measured, name: str, work: str, members: int) -> Cell | None:
    """The cell, if it tells something."""
    tells = work != "idle" or members >= IDLE_FROM
    return measured.cell(name, work, members) if tells else None


# -- for a terminal ----------------------------------------------------------------------------


def text(measured: Measured) -> str:
    """All of it, a table for each number of members."""
    lines = [_made(measured)]
    for members in measured.sizes():
        lines += ["", *_columns(_rows(measured, members))]
    if measured.delays:
        lines += ["", *_columns(_delay_rows(measured))]
    lines += ["", *(_left_out(measured))]
    return "\n".join(lines).rstrip()


def _rows(measured: Measured, members: int) -> list[list[str]]:
    head = [f"{members:,} members", *(f"{work} ({unit})" for work, unit in UNITS.items())]
    rows = [head]
    for name in _measured_names(measured):
        cells = [_cell(measured, name, work, members) for work in UNITS]
        if any(cells):
            rows.append(
                [_TITLES[name], *(_with_range(cell) if cell else NOTHING for cell in cells)]
            )
    return rows


def _with_range(cell: Cell) -> str:
    middle, low, high = map(short, (cell.median, min(cell.values), max(cell.values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _delay_rows(measured: Measured) -> list[list[str]]:
    members = measured.delays[0].members
    head = [f"delay p50 / p99 (ms), {members:,} members"]
    rates = sorted({delay.rate for delay in measured.delays})
    rows = [[*head, *(f"{rate:g} a second" for rate in rates)]]
    for name in _measured_names(measured):
        of_it = {delay.rate: delay for delay in measured.delays if delay.contender == name}
        if of_it:
            shown = (
                f"{short(of_it[rate].p50)} / {short(of_it[rate].p99)}" if rate in of_it else NOTHING
                for rate in rates
            )
            rows.append([_TITLES[name], *shown])
    return rows


def _columns(rows: list[list[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (each.rjust(width) for each, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells])


def _left_out(measured: Measured) -> list[str]:
    return [
        f"left out: {_TITLES[left.contender]}, {left.members:,} members: {left.why}"
        for left in measured.left_out
    ]


def _measured_names(measured: Measured) -> list[str]:
    there = {cell.contender for cell in measured.cells}
    return [name for name in _TITLES if name in there]


# -- for the documents -------------------------------------------------------------------------


def fill_in(measured: Measured, root: Path = ROOT) -> None:
    """Write the generated parts of the documents anew.

    Raises:
        ValueError: a document lacks the place for it.
    """
    for path, name, made in (
        ("README.md", "compare", readme),
        ("docs/SCALING.md", "peers", peers),
        ("docs/SCALING.md", "growth", growth),
        ("docs/SCALING.md", "rooms", rooms),
    ):
        document = root / path
        document.write_text(replaced(document.read_text(encoding="utf-8"), name, made(measured)))


def replaced(document: str, name: str, made: str) -> str:
    """The document with this as its generated part.

    Raises:
        ValueError: it lacks the place for it.
    """
    between = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not between.search(document):
        raise ValueError(f"there is no place for {name!r}")
    return between.sub(lambda found: f"{found[1]}{made.strip()}\n{found[2]}", document)


def shown_members(measured: Measured) -> int:
    """Of which number of members the tables tell."""
    return max((n for n in measured.sizes() if n <= DELAYS_AT), default=0)


def readme(measured: Measured) -> str:
    """The table at one number of members, and who is best at what."""
    return "\n\n".join([_markdown(measured), _verdicts(measured), _made(measured)])


def _markdown(measured: Measured) -> str:
    members = shown_members(measured)
    best = {work: min(found.values()) for work in UNITS if (found := _figures(measured, work))}
    rows = [[f"{members:,} members", *(f"{HEADINGS[work]} ({UNITS[work]})" for work in best)]]
    for name in _measured_names(measured):
        row = [_TITLES[name]]
        for work in best:
            cell = _cell(measured, name, work, members)
            figure = short(cell.median) if cell else NOTHING
            first = cell and name in _PEERS and cell.median == best[work]
            row.append(f"**{figure}**" if first else figure)
        rows.append(row)
    return as_markdown(rows)


def _figures(measured: Measured, work: str) -> dict[str, float]:
    """What a work costs those that encrypt, the cheapest first."""
    members = shown_members(measured)
    cells = {name: _cell(measured, name, work, members) for name in _PEERS}
    figures = {name: cell.median for name, cell in cells.items() if cell}
    return dict(sorted(figures.items(), key=lambda each: each[1]))


def _verdicts(measured: Measured) -> str:
    found = [_verdict(measured, work) for work in UNITS]
    return "\n".join(
        [
            "Bold is the lowest of those that encrypt. "
            "Here the sender encrypts a message, and the server passes it on as it came; TLS ends "
            "at the server, which encrypts it anew for each member.",
            "",
            *(f"- {each}" for each in found if each),
        ]
    )


def _verdict(measured: Measured, work: str) -> str:
    """A sentence on who is best, and where we stand."""
    figures, unit = _figures(measured, work), UNITS[work]
    if OURS not in figures or len(figures) < 2:
        return ""
    (best, least), (second, next_least), *_ = figures.items()
    ours = figures[OURS]
    what = _capital(HEADINGS[work])
    if best == OURS:
        alike = next_least / least < _ALIKE
        ratio = "about the same" if alike else f"{short(next_least / least)} times as much"
        return (
            f"{what}: least with this program, {short(least)} {unit}; "
            f"next is {_SHORT[second]} with {short(next_least)} {unit}, {ratio}."
        )
    if ours / least < _ALIKE:
        return f"{what}: about the same with {_SHORT[best]} and with this program."
    return (
        f"{what}: least with **{_SHORT[best]}**, {short(least)} {unit}; "
        f"with this program {short(ours)} {unit}, {short(ours / least)} times as much."
    )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _made(measured: Measured) -> str:
    """How, where and when."""
    noise, most = measured.noise()
    setting = measured.setting
    versions = ", ".join(
        f"{_SHORT[name]} {version}" for name, version in measured.versions.items() if name in _PEERS
    )
    rounds = "in one round"
    if setting["rounds"] > 1:
        rounds = (
            f"the median of {setting['rounds']:g} rounds, which differ by {noise:.0%} as a rule "
            f"and by {most:.0%} at most"
        )
    return (
        f"{where_made(measured)}: the server on one "
        f"core, the load on the other, over the loopback, in turns; messages of "
        f"{setting['text_bytes']:g} bytes; processor time of the server's process, "
        f"{rounds}. The load average was {measured.machine['others']}. Versions: {versions}."
    )


def where_made(measured: Measured) -> str:
    """When, and on which machine."""
    machine = measured.machine
    return (
        f"Measured on {measured.when}, on a machine with {machine['processor']}, "
        f"{machine['memory']}, {machine['system']}, Linux {machine['kernel']}"
    )


def peers(measured: Measured) -> str:
    """CPU and delay of all contenders, and what was left out."""
    parts = []
    for work in ("flood", "paced", "join", "idle"):
        if work == "idle" and max(measured.sizes(), default=0) < IDLE_FROM:
            continue
        parts.append(f"**{_capital(HEADINGS[work])}**, in {UNITS[work]}:")
        parts.append(_over_members(measured, work, _measured_names(measured)))
    if measured.delays:
        parts.append(f"**Delay p50 / p99**, in ms, {measured.delays[0].members:,} members:")
        parts.append(as_markdown(_delay_rows(measured)))
    parts += [f"- {line}" for line in _left_out(measured)]
    return "\n\n".join([*parts, _made(measured)])


def _over_members(measured: Measured, work: str, names: list[str]) -> str:
    sizes = measured.sizes()
    rows = [["members", *(f"{size:,}" for size in sizes)]]
    for name in names:
        cells = [_cell(measured, name, work, size) for size in sizes]
        if any(cells):
            rows.append([_TITLES[name], *_medians(cells)])
    return as_markdown(rows)


def _medians(cells: list[Cell | None]) -> list[str]:
    return [short(cell.median) if cell else NOTHING for cell in cells]


def as_markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its head."""
    head, *others = rows
    lines = [head, ["---"] * len(head), *others]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def growth(measured: Measured) -> str:
    """This program alone, over the number of members, and what a core carries by it."""
    model = Model(measured)
    sizes = measured.sizes()
    rows = [["members", *(f"{size:,}" for size in sizes)]]
    for work in UNITS:
        cells = [_cell(measured, OURS, work, size) for size in sizes]
        rows.append([f"{HEADINGS[work]}, {UNITS[work]}", *_medians(cells)])
    lines: list[tuple[str, Callable[[int], str]]] = [
        ("messages a second, each sent alone", lambda n: _whole(model.alone_rate(n))),
        ("then the last one has it after, ms", lambda n: short(model.turn_seconds(n) * 1e3)),
        (
            "messages a second when all are within 100 ms",
            lambda n: _whole(model.rate_within(n, 0.1)),
        ),
        ("joins a second", lambda n: _whole(model.joins_a_second(n))),
        ("memory without the windows, MiB", lambda n: short(model.memory_mib(n, windows=0))),
    ]
    rows += [[what, *(figure(n) for n in sizes)] for what, figure in lines]
    return as_markdown(rows)


def _whole(value: float) -> str:
    """Three digits of a large number, with commas."""
    return f"{float(f'{value:.3g}'):,.0f}"


def rooms(measured: Measured) -> str:
    """What many rooms cost."""
    if not measured.rooms:
        return "Not measured in this run."
    return as_markdown([["rooms", "measured"], *([w.strip(), r] for w, r in measured.rooms)])
