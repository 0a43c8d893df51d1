"""Put the same work on this program's server and on those of others, and print one table."""

import argparse
import importlib.util
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import rooms
from benchmarks.compare import study, tables
from benchmarks.compare.ours import BITS
from benchmarks.compare.results import DATA, Measured, load, save
from benchmarks.compare.study import CONTENDERS, QUICK, Plan, Study
from benchmarks.load import LOAD_CORE, PROGRAM_CORE, Keys, prepared, progress
from chat.limits import MAX_MEMBERS

_OF_THE_PLAN = ("sizes", "rounds", "cell_seconds", "fill_seconds")
"""Options that change what is measured."""

SIZES = (10, 30, 100, 300, 1_000, 3_000, 10_000)


def main() -> None:
    """Measure and print; with `--publish`, also draw and write what the documents say."""
    parser = _parser()
    options = parser.parse_args()
    if options.publish or options.draw:
        _check_publishing(parser, options)
    if options.draw:
        return _publish()
    measured = _measure(options)
    print(tables.text(measured))
    if options.json:
        save(measured, Path(options.json))
    if options.publish:
        save(measured, DATA)
        _publish()
    return None


def _measure(options: argparse.Namespace) -> Measured:
    chosen = [each for each in CONTENDERS if each.name in (options.only or _names())]
    for each in chosen:
        if each.lacks():
            print(f"{each.title} is left out: install {each.lacks()}", file=sys.stderr)
    if PROGRAM_CORE == LOAD_CORE:
        print("There is but one core: the two disturb each other.", file=sys.stderr)
    plan = QUICK if options.quick else Plan(SIZES)
    given = {name: getattr(options, name) for name in _OF_THE_PLAN if getattr(options, name)}
    plan = replace(plan, **given)
    with prepared():
        ready = [each for each in chosen if not each.lacks()]
        measured = Study(plan, ready, progress).run()
        if not (options.quick or options.only):
            measured.rooms = _rooms()
    progress("")
    return measured


def _rooms() -> list[list[str]]:
    """What many rooms cost at our server; nothing, if the machine is too slow to find out."""
    progress("many rooms at our server")
    try:
        with tempfile.TemporaryDirectory(prefix="chat-compare-") as directory:
            rows = rooms.measure(Keys(BITS), Path(directory))
    except study.FAILURES as exc:
        print(f"many rooms are left out: {exc}", file=sys.stderr)
        return []
    return [[row.what, row.result] for row in rows]


def _check_publishing(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Find out now, and not after half an hour of measuring, what would be in the way."""
    if options.only or options.quick:
        parser.error("the documents show all contenders: leave out --only and --quick")
    if importlib.util.find_spec("matplotlib") is None:
        parser.error("the plots need matplotlib: pip install '.[bench]'")


def _publish() -> None:
    """What is kept, which is rounded. Plots first: the documents show them."""
    from benchmarks.compare import plots

    measured = load()
    plots.draw(measured)
    tables.fill_in(measured)


def _names() -> list[str]:
    return [each.name for each in CONTENDERS]


def _sizes(given: str) -> tuple[int, ...]:
    try:
        sizes = tuple(sorted({int(each) for each in given.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError("numbers of members are like 10,100") from None
    if not study.LEAST_MEMBERS <= sizes[0] <= sizes[-1] <= MAX_MEMBERS:
        most = f"{study.LEAST_MEMBERS} to {MAX_MEMBERS:,}"
        raise argparse.ArgumentTypeError(f"a room has {most} members here")
    return sizes


def _positive(given: str) -> int:
    if not given.isdecimal() or not int(given):
        raise argparse.ArgumentTypeError("a whole number, at least 1")
    return int(given)


def _parser() -> argparse.ArgumentParser:
    plan = Plan(SIZES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=_sizes,
        metavar="N,N",
        help=f"numbers of members (default: {','.join(map(str, SIZES))})",
    )
    parser.add_argument(
        "--only", nargs="+", choices=_names(), metavar="NAME", help=", ".join(_names())
    )
    parser.add_argument("--quick", action="store_true", help="few members, one short round")
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"default: {plan.rounds}")
    parser.add_argument(
        "--cell-seconds",
        type=_positive,
        metavar="SECONDS",
        help=f"begin no further round of what has taken so long (default: {plan.cell_seconds:g})",
    )
    parser.add_argument(
        "--fill-seconds",
        type=_positive,
        metavar="SECONDS",
        help=f"how long all members may take to come in (default: {plan.fill_seconds:g})",
    )
    parser.add_argument("--json", metavar="FILE", help="write what was measured")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="keep what was measured, draw the plots, and write the tables of README and "
        "docs/SCALING.md",
    )
    parser.add_argument(
        "--draw", action="store_true", help="the same with what is kept, without measuring"
    )
    return parser


if __name__ == "__main__":
    # Whoever ends it ends the servers, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ncompare: interrupted")
