"""What has been shown already: a message that is sent again into another room is shown once.

Implements PROTOCOL 6.6. A message is known by its sender's key, run and number. The key is the one
in the roster, so that nobody can take away another's messages by his own.
"""

from chat.limits import MAX_ORIGINS, MAX_ORIGINS_OF_ONE


class SeenMessages:
    """The last number that was shown of each run. Who was heard longest ago is forgotten first."""

    def __init__(self) -> None:
        self._last: dict[bytes, dict[bytes, int]] = {}

    def is_new(self, fingerprint: bytes, origin: bytes, number: int) -> bool:
        """Whether this has not been shown; from now on it has."""
        runs = self._last.pop(fingerprint, {})
        last = runs.pop(origin, 0)
        runs[origin] = max(last, number)
        self._last[fingerprint] = runs
        if len(runs) > MAX_ORIGINS_OF_ONE:
            del runs[next(iter(runs))]
        if len(self._last) > MAX_ORIGINS:
            del self._last[next(iter(self._last))]
        return number > last
