"""Run the benchmarks and print one table."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import (
    cluster,
    comeback,
    crowd,
    delay,
    fanout,
    join,
    memory,
    pipe,
    rooms,
    startup,
    terminal,
)
from benchmarks.load import LOAD_CORE, PROGRAM_CORE, Keys, Row, prepared, progress
from chat.errors import ChatError

Benchmark = Callable[[argparse.Namespace, Path], Iterable[Row]]


def _startup(_options: argparse.Namespace, _directory: Path) -> list[Row]:
    return startup.measure()


def _terminal(_options: argparse.Namespace, directory: Path) -> list[Row]:
    return terminal.measure(directory)


def _join(options: argparse.Namespace, directory: Path) -> list[Row]:
    return join.measure(options.members, Keys(options.bits), directory)


def _memory(options: argparse.Namespace, directory: Path) -> list[Row]:
    counts = sorted({options.members, max(options.members, options.idle)})
    return memory.measure(counts, Keys(options.bits), directory)


def _fanout(options: argparse.Namespace, directory: Path) -> list[Row]:
    size = fanout.Size(options.members, options.speakers, options.window)
    return fanout.measure(size, Keys(options.bits), directory)


def _delay(options: argparse.Namespace, directory: Path) -> list[Row]:
    return delay.measure(options.members, Keys(options.bits), directory)


def _crowd(options: argparse.Namespace, directory: Path) -> Iterable[Row]:
    return crowd.measure(options.crowd, Keys(options.bits), directory)


def _comeback(options: argparse.Namespace, directory: Path) -> Iterable[Row]:
    return comeback.measure(options.members, Keys(options.bits), directory)


def _rooms(options: argparse.Namespace, directory: Path) -> list[Row]:
    return rooms.measure(Keys(options.bits), directory)


def _cluster(options: argparse.Namespace, directory: Path) -> Iterable[Row]:
    size = fanout.Size(options.members, options.speakers, options.window)
    measured = cluster.run(size, Keys(options.bits), directory)
    if options.publish:
        cluster.publish(measured)
    return cluster.measure(measured)


def _pipe(options: argparse.Namespace, directory: Path) -> list[Row]:
    return pipe.measure(options.lines, Keys(options.bits), directory)


BENCHMARKS: dict[str, Benchmark] = {
    "startup": _startup,
    "terminal": _terminal,
    "pipe": _pipe,
    "join": _join,
    "memory": _memory,
    "fanout": _fanout,
    "delay": _delay,
    "crowd": _crowd,
    "comeback": _comeback,
    "rooms": _rooms,
    "cluster": _cluster,
}


def main() -> None:
    """Run what was asked for: everything, if nothing was."""
    parser = _parser()
    options = parser.parse_args()
    if options.publish and "cluster" not in (options.benchmarks or BENCHMARKS):
        parser.error("--publish is for what cluster measures")
    print(
        f"{options.members} members, clients with RSA-{options.bits}, "
        f"{options.speakers} speakers with {options.window} messages under way in a flood; "
        f"the server on core {PROGRAM_CORE}, the load on core {LOAD_CORE}. "
        "Median (lowest to highest)."
    )
    if PROGRAM_CORE == LOAD_CORE:
        print("There is but one core: the two disturb each other.", file=sys.stderr)
    with prepared():
        for name in options.benchmarks or _all():
            with tempfile.TemporaryDirectory(prefix="chat-bench-") as directory:
                for row in BENCHMARKS[name](options, Path(directory)):
                    progress("")
                    print(f"{row.what:36}  {row.result:36}  {row.aim:>7}".rstrip(), flush=True)


def _all() -> list[str]:
    """Those that can run here."""
    if lacking := cluster.missing():
        print(f"cluster is left out: install {lacking}", file=sys.stderr)
        return [name for name in BENCHMARKS if name != "cluster"]
    return list(BENCHMARKS)


def _known(name: str) -> str:
    if name not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"there is no benchmark {name!r}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "benchmarks",
        nargs="*",
        type=_known,
        metavar="|".join(BENCHMARKS),
        help="which to run (default: all)",
    )
    parser.add_argument("--members", type=int, default=1000, help="default: %(default)s")
    parser.add_argument(
        "--idle", type=int, default=0, help="look at memory once more when so many are in"
    )
    parser.add_argument(
        "--crowd",
        type=int,
        default=8192,
        help="silent connections that one address keeps up (default: %(default)s)",
    )
    parser.add_argument(
        "--lines",
        type=int,
        default=100_000,
        help="of the input that a client sends from a pipe (default: %(default)s)",
    )
    parser.add_argument("--speakers", type=int, default=4, help="in a flood (default: %(default)s)")
    parser.add_argument(
        "--window",
        type=int,
        default=64,
        help="messages a speaker has under way in a flood (default: %(default)s)",
    )
    parser.add_argument(
        "--bits", type=int, default=2048, help="the clients' RSA key (default: %(default)s)"
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="keep what cluster measures, and write its tables in docs/SCALING.md",
    )
    return parser


if __name__ == "__main__":
    try:
        main()
    except (ChatError, RuntimeError) as error:
        sys.exit(f"benchmarks: error: {error}")
