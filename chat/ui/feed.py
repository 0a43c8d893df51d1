"""What a view is told, before it is shown: it is remembered for `/last`, written to the log, and
news of strangers are summed up.
"""

from collections.abc import Callable, Iterable

from chat.client.events import ClientEvent, MessageReceived, Warned
from chat.ui.memory import Memory
from chat.ui.quiet import Quiet
from chat.ui.record import Record


class Feed:
    """Takes each event once."""

    def __init__(self, quiet: Quiet, record: Record | None = None) -> None:
        """`record`: the log; None: there is none."""
        self.quiet = quiet
        self._record = record
        self.memory = Memory()
        """What was heard in this run, at a terminal."""

    def log(self, event: ClientEvent) -> Warned | None:
        """Write down what happens. Returns what is to be shown of the log, if something is wrong
        with it."""
        trouble = "" if self._record is None else self._record.note(event)
        return Warned(trouble) if trouble else None

    def take(
        self, event: ClientEvent, names: Callable[[], Iterable[str]], *, live: bool
    ) -> list[ClientEvent]:
        """For people: also remember it. Returns what is to be shown one by one. `names` are those
        of the members; `live`: it happens now."""
        trouble = self.log(event)
        shown = [event] if trouble is None else [event, trouble]
        self.memory.add(event)
        if isinstance(event, MessageReceived):
            self.quiet.heard(event, names)
        elif self.quiet.takes(event, live=live):
            del shown[0]
        return shown
