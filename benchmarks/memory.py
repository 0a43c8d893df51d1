"""Memory of one idle connection: how much the server grows when members join and say nothing."""

from pathlib import Path

from benchmarks.load import AT_ONCE, Crowd, Keys, Row, chat_server, join, short

AIM = "3.2 KiB"


def measure(counts: list[int], keys: Keys, directory: Path) -> list[Row]:
    """Look at the server's memory when so many members are in, two or more."""
    rows = []
    with chat_server(directory) as server, Crowd(server) as crowd:
        # The first one to come makes the server load modules, which stay.
        join(crowd, server.port, ["first"], keys, at_once=1)
        alone = server.resident_bytes
        rows.append(Row("memory with nobody but one", f"{short(alone / 1024)} KiB"))
        for count in counts:
            names = [f"visitor{number}" for number in range(len(crowd), count)]
            join(crowd, server.port, names, keys, AT_ONCE)
            grown = server.resident_bytes
            each = (grown - alone) / (count - 1) / 1024
            rows.append(Row(f"memory with {count} members", f"{short(grown / 1024)} KiB"))
            rows.append(Row("  for each but the first", f"{short(each)} KiB", AIM))
    return rows
