"""CPU of one join: by itself, one after the other, and in a storm."""

from pathlib import Path

from benchmarks.load import Crowd, Program, Row, chat_server, join, short, spread
from chat.kex import PrivateKey

STORM = 100
"""Handshakes under way in a storm. All clients calculate on one core here, and must be done before
the server loses patience with them."""

BY_ITSELF = 25
"""Joins that are measured one by one: each waits for its welcome before the next one begins."""

AIM = "2 ms"


def measure(members: int, key: PrivateKey, directory: Path) -> list[Row]:
    """Fill two rooms, one slowly and one fast, and let a few more join at the beginning and at the
    end."""
    rows = []
    with chat_server(directory) as server, Crowd(server) as crowd:
        _warm_up(crowd, server, key)
        costs = [_cost(crowd, server, [name], key, 1) for name in _names("early", BY_ITSELF)]
        rows.append(Row("one join by itself, nobody in yet", spread(costs, "ms"), AIM))
        cost = _cost(crowd, server, _names("visitor", members), key, 1)
        rows.append(Row("one join, one after the other", f"{short(cost)} ms", AIM))
    with chat_server(directory) as server, Crowd(server) as crowd:
        _warm_up(crowd, server, key)
        cost = _cost(crowd, server, _names("visitor", members), key, STORM)
        rows.append(Row(f"one join in a storm of {STORM}", f"{short(cost)} ms", AIM))
        costs = [_cost(crowd, server, [name], key, 1) for name in _names("late", BY_ITSELF)]
        rows.append(Row("one join by itself, all others in", spread(costs, "ms")))
    return rows


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def _warm_up(crowd: Crowd, server: Program, key: PrivateKey) -> None:
    """The first one to come makes the server load modules and sign its share."""
    join(crowd, server.port, ["first"], key, at_once=1)


def _cost(crowd: Crowd, server: Program, names: list[str], key: PrivateKey, at_once: int) -> float:
    """Milliseconds of the server's CPU per join, until everybody has been welcomed."""
    before = server.cpu_seconds
    join(crowd, server.port, names, key, at_once)
    return (server.cpu_seconds - before) / len(names) * 1000
