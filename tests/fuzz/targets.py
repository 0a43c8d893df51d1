"""All targets, by name, and the inputs that once found a fault in each."""

import random
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz import files, rooms, screen, wire

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(wire.frames, wire.session, rooms.participant, rooms.room),
        *(files.keys, files.known_servers, files.known_members, files.history),
        *(files.invites, files.kept_rooms),
        *(screen.text, screen.lines, screen.json_lines),
    )
}
CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 4_096
INPUTS = st.binary(max_size=64) | st.builds(
    lambda seed, size: random.Random(seed).randbytes(size),
    st.integers(0, 2**32),
    st.integers(0, MOST_BYTES // 4),
)
"""Where nothing guides the choice: short inputs, and long ones that shrink by their size."""
