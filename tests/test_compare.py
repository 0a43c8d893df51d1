"""The comparison with other servers: what arrives is taken apart, counted and compared, and the
documents say what was measured."""

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.compare import room as rooms
from benchmarks.compare import tables, works
from benchmarks.compare.__main__ import main
from benchmarks.compare.irc import Irc
from benchmarks.compare.labels import spread
from benchmarks.compare.lines import Dialect, LineRoom
from benchmarks.compare.mqtt import Mqtt, packet, packets
from benchmarks.compare.nats import Nats
from benchmarks.compare.plain import Lines
from benchmarks.compare.results import DATA, Cell, LeftOut, Measured, load, save
from benchmarks.compare.room import SPEAKERS, ContenderError
from chat.limits import MAX_MEMBERS, READER_ROOMS, SNAPSHOT_BYTES, SPARE_DESCRIPTORS, WINDOW_BYTES
from tests.support.processes import ROOT

# -- what arrives ------------------------------------------------------------------------------

SAID = ["s0 1", "s1 1 x"]
ARRIVED: list[tuple[Dialect, bytes, bytes]] = [
    (
        Irc(),
        b":irc.example.net 353 m00000 = #room :m00000 m00001\r\n"
        b":irc.example.net 366 m00000 #room :End of NAMES list\r\n",
        b":m1!~m1@127.0.0.1 PRIVMSG #room :s0 1\r\n:m2!~m2@h JOIN :#room\r\n"
        b":m2!~m2@127.0.0.1 PRIVMSG #room :s1 1 x\r\n",
    ),
    (
        Mqtt(),
        b"\x20\x02\x00\x00\x90\x03\x00\x01\x00",
        b"\x30\x0a\x00\x04rooms0 1\xd0\x00\x30\x0c\x00\x04rooms1 1 x",
    ),
    (
        Nats(),
        b"+OK\r\nPONG\r\n",
        b"MSG room 1 4\r\ns0 1\r\nPING\r\nMSG room 1 6\r\ns1 1 x\r\n",
    ),
]


@pytest.mark.parametrize(("dialect", "welcome", "heard"), ARRIVED)
def test_words_are_found_among_whatever_else_arrives(
    dialect: Dialect, welcome: bytes, heard: bytes
) -> None:
    assert dialect.texts(welcome + heard) == SAID


@pytest.mark.parametrize(("dialect", "welcome", "heard"), ARRIVED)
def test_what_has_not_arrived_whole_does_not_count(
    dialect: Dialect, welcome: bytes, heard: bytes
) -> None:
    counts = [len(dialect.texts(heard[:size])) for size in range(len(heard) + 1)]
    assert counts == sorted(counts)
    assert counts[-2:] == [1, 2]


@pytest.mark.parametrize(("dialect", "welcome", "heard"), ARRIVED)
def test_member_is_in_with_the_last_byte_of_the_welcome(
    dialect: Dialect, welcome: bytes, heard: bytes
) -> None:
    assert dialect.is_in(welcome)
    assert not dialect.is_in(welcome[:-1])


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384])
def test_length_of_a_packet_is_written_as_it_is_read(size: int) -> None:
    assert list(packets(packet(0x30, b"x" * size) * 2)) == [(0x30, b"x" * size)] * 2


# -- counted and compared ----------------------------------------------------------------------

Passing = Callable[[int, bytes], bytes]
"""What becomes of what is said, on its way to the member with this number."""


def unchanged(_member: int, data: bytes) -> bytes:
    return data


def lost(member: int, data: bytes) -> bytes:
    return b"" if member == 1 and b"s2 00000001" in data else data


def changed(_member: int, data: bytes) -> bytes:
    return data.replace(b"s2 00000001 xx", b"s2 00000001 xy")


def doubled(member: int, data: bytes) -> bytes:
    return data * 2 if member == 0 and b"s2 00000001" in data else data


@pytest.fixture
def hall(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineRoom]:
    """Two members, the witness and the speakers; and in place of a server what passes on words."""
    passing: Passing = request.param
    monkeypatch.setattr(rooms, "SILENCE_SECONDS", 0)
    monkeypatch.setattr(rooms, "SETTLED_SECONDS", 0)
    ends: list[socket.socket] = []

    class Passed(LineRoom):
        def say(self, speaker: int, batch: rooms.Batch) -> None:
            for member, end in enumerate(ends):
                end.sendall(passing(member, batch.up))

        def _enter_one(self, number: int) -> None:
            here, there = socket.socketpair()
            ends.append(there)
            self.hold(here)

    reading, writing = os.pipe()
    program: Any = SimpleNamespace(output=reading, cpu_seconds=0.0, stop=lambda: os.close(reading))
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, writing)
        passed = Passed(program, Lines(), lambda dialled: dialled)
        here = stack.enter_context(contextlib.closing(passed))
        here.enter(2, 1, float("inf"))
        here.ready()
        yield here
        for end in ends:
            end.close()


@pytest.mark.parametrize("hall", [unchanged], indirect=True)
def test_flood_that_everybody_gets_is_counted(hall: LineRoom) -> None:
    cost = works.flood(hall, works.Sayings(), batches=2, window=3)
    assert hall.got == [SPEAKERS * 2 * 3 * hall.unit] * hall.size
    # What stands for the program spends nothing.
    assert cost == works.Cost(0.0, 0.0)


@pytest.mark.parametrize("hall", [lost, doubled], indirect=True)
def test_delivery_that_is_lost_or_doubled_is_noticed(hall: LineRoom) -> None:
    with pytest.raises(ContenderError, match="nothing arrived"):
        works.flood(hall, works.Sayings(), batches=1, window=1)


@pytest.mark.parametrize("hall", [changed], indirect=True)
def test_word_that_was_changed_is_noticed(hall: LineRoom) -> None:
    with pytest.raises(ContenderError, match="speaker 2 say something else"):
        works.flood(hall, works.Sayings(), batches=1, window=1)


@pytest.mark.parametrize("hall", [unchanged], indirect=True)
def test_delay_is_noted_for_each_delivery(hall: LineRoom) -> None:
    delays = works.Delays()
    works.paced(hall, works.Sayings(), rate=1e6, seconds=3e-6, delays=delays)
    assert len(delays.milliseconds) == 3 * hall.size
    assert 0 <= delays.at(0.5) <= delays.at(0.99)


@pytest.mark.parametrize("hall", [unchanged], indirect=True)
def test_speaker_who_does_not_hear_itself_is_due_only_what_others_say(hall: LineRoom) -> None:
    hall.hears_itself = False
    assert hall.due([3, 1, 0, 0]) == [4, 4, 4, 1, 3, 4, 4]
    assert hall.deliveries(4) == sum(hall.due([3, 1, 0, 0]))


@pytest.mark.parametrize("hall", [unchanged], indirect=True)
def test_only_whole_pieces_of_what_is_no_message_may_come_in_between(hall: LineRoom) -> None:
    due, hall.surplus = [1] * hall.size, 6
    for extra, wrong in ((0, 0), (6, 0), (12, 0), (5, 1), (-6, 1)):
        hall.got = [hall.unit] * hall.size
        hall.got[0] += extra
        assert hall.missing(due) == wrong


# -- what is shown -----------------------------------------------------------------------------


def measured(**flood: float) -> Measured:
    """One number of members, and one work."""
    machine = dict.fromkeys(("processor", "memory", "kernel", "system", "others"), "?")
    setting = {"rounds": 1.0, "text_bytes": 100.0, "message_bytes": 211.0, "empty_mib": 30.0}
    cells = [Cell(name, 10, "flood", [figure]) for name, figure in flood.items()]
    return Measured("2026-01-01", machine, setting, dict.fromkeys(flood, "1.0"), cells)


@pytest.mark.parametrize(
    ("flood", "sentence"),
    [
        (
            {"chat": 2.0, "nats": 1.0},
            r"least with \*\*NATS\*\*, 1 µs; with this program 2 µs, 2 times as",
        ),
        ({"chat": 1.0, "nats": 3.0}, r"least with this program, 1 µs; next is NATS .* 3 times as"),
        ({"chat": 1.05, "nats": 1.0}, r"about the same with NATS and with this program"),
        # Who encrypts nothing does not win.
        ({"chat": 1.0, "nats": 3.0, "bare": 0.1}, r"least with this program"),
    ],
)
def test_who_is_best_is_said(flood: dict[str, float], sentence: str) -> None:
    made = tables.readme(measured(**flood))
    assert re.search(f"in a flood: {sentence}", made)


@pytest.mark.parametrize(
    ("rounds", "said"),
    [(1, "process, in one round."), (3, "the median of 3 rounds, which differ by")],
)
def test_number_of_rounds_is_said(rounds: int, said: str) -> None:
    some = measured(chat=1.0)
    some.setting["rounds"] = rounds
    assert said in tables.text(some)


@pytest.mark.parametrize(("members", "shown"), [(100, False), (1_000, True)])
def test_memory_of_a_few_members_is_too_little_to_tell(members: int, shown: bool) -> None:
    some = measured()
    for work in ("flood", "paced", "join", "idle"):
        some.cells += [Cell(name, members, work, [7.0]) for name in ("chat", "nats")]
    for made in (tables.readme(some), tables.peers(some)):
        assert ("emory of an idle member" in made) == shown
        assert "elivery in a flood" in made


def test_what_was_left_out_is_named_with_its_reason() -> None:
    some = measured(chat=1.0)
    some.left_out.append(LeftOut("ngircd", 10_000, "it does not start"))
    assert "ngircd over TLS 1.3 (C), 10,000 members: it does not start" in tables.text(some)


def test_generated_part_is_replaced_and_nothing_else() -> None:
    document = "a\n<!-- x: made -->\nold\n<!-- /x -->\nb\n"
    made = tables.replaced(document, "x", "new\n")
    assert made == "a\n<!-- x: made -->\nnew\n<!-- /x -->\nb\n"
    assert tables.replaced(made, "x", "new") == made
    with pytest.raises(ValueError, match="no place for 'y'"):
        tables.replaced(document, "y", "new")


def test_documents_say_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    names = ("README.md", "docs/SCALING.md")
    for name in names:
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    tables.fill_in(load(), tmp_path)
    for name in names:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "make compare, or --draw"


def test_what_was_measured_is_kept(tmp_path: Path) -> None:
    save(load(), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == DATA.read_text()


def test_pictures_that_documents_show_are_there() -> None:
    for work in ("delivery", "join", "delay", "idle"):
        for theme in ("light", "dark"):
            assert (ROOT / f"docs/pictures/compare-{work}-{theme}.svg").exists()


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ({"a": 0.1, "b": 0.9}, {"a": 0.1, "b": 0.9}),
        ({"a": 0.5, "b": 0.5}, {"a": 0.45, "b": 0.55}),
        ({"a": 0.3, "b": 0.34, "c": 0.38}, {"a": 0.24, "b": 0.34, "c": 0.44}),
    ],
)
def test_names_of_lines_are_moved_apart(
    heights: dict[str, float], placed: dict[str, float]
) -> None:
    assert spread(heights, 0.1) == pytest.approx(placed)


@pytest.mark.parametrize(
    "sentence",
    [
        f"members + {SPARE_DESCRIPTORS} (",
        f"{MAX_MEMBERS:,} in a room",
        f"keeps {WINDOW_BYTES >> 20} MiB",
        f"With fewer than {tables.IDLE_FROM} members",
        f"{WINDOW_BYTES // int(load().setting['message_bytes']):,} messages of 100 bytes",
        f"a message of 100 bytes has {load().setting['message_bytes']:.0f} on the wire",
        f"waits for {READER_ROOMS} rooms over one connection",
        f"last but one snapshot, which is taken after {SNAPSHOT_BYTES >> 20} MiB",
    ],
)
def test_document_on_scaling_has_the_limits_of_the_code(sentence: str) -> None:
    assert sentence in " ".join((ROOT / "docs/SCALING.md").read_text().split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sizes", "5"], "10 to 10,000 members"),
        (["--sizes", "20000"], "10 to 10,000 members"),
        (["--sizes", "ten"], "like 10,100"),
        (["--rounds", "0"], "at least 1"),
        (["--only", "somebody"], "invalid choice"),
        (["--publish", "--quick"], "leave out --only and --quick"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["compare", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert said in capfd.readouterr().err
