"""The server's console: what the operator sees, and how commands get to the server.

What happens goes out as lines, to a desk, and is noted in the operator's log. Commands come in as
lines, from the desk or from other operators, who are answered where they are: the console only says
what they did. It knows neither sockets nor sessions nor terminals.

Whoever reads that something is done may rely on it. So a list is written before the answer is given
(`ServerControl.save_orders`). To write one for each line would take a second for some hundred lines
that were pasted, and nobody would be served meanwhile. So what is typed here takes effect line by
line, and answers of one line wait: for another line that is shown, or for the end of the turn.
Answers to other operators wait where they are sent from.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from chat.limits import (
    CLUSTER_LINES_PER_SECOND,
    CONSOLE_QUEUE_BYTES,
    FAULT_SUM_SECONDS,
    MESSAGE_LINES_PER_SECOND,
    REFUSAL_LINES_PER_SECOND,
)
from chat.reactor import Reactor, do_nothing
from chat.server import words
from chat.server.commands import Answer, Commands, ServerControl, refused
from chat.server.desk import Desk
from chat.server.faults import chain_of, kind_of, places_of
from chat.server.lists import Trouble
from chat.server.operators import CONSOLE, Operator
from chat.server.oplog import Event, OperatorLog
from chat.server.ration import Ration


class Console:
    """The operator's lines: shows what happens, and passes commands on."""

    def __init__(
        self,
        reactor: Reactor,
        desk: Desk,
        log: OperatorLog | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        """`log` is where what happens is noted. `quiet`: show no news, but answers and errors."""
        self.log = log or OperatorLog(reactor)
        self._reactor = reactor
        self._desk = desk
        self._quiet = quiet
        self._commands: Commands | None = None
        self._save_orders: Callable[[], None] = do_nothing
        self._dropped = 0
        self._answers: list[str] = []
        """What waits to be shown until everything is written that these lines say."""
        self._complaints: list[str] = []
        """What was complained of in this turn: for other operators who gave a command in it."""
        self._messages = Ration(reactor, MESSAGE_LINES_PER_SECOND, 1.0, self._show_messages)
        self._refusals = Ration(reactor, REFUSAL_LINES_PER_SECOND, 1.0, self._show_refusals)
        self._cluster = Ration(reactor, CLUSTER_LINES_PER_SECOND, 1.0, self._show_of_cluster)
        self._faults = Ration(reactor, 0, FAULT_SUM_SECONDS, self._show_faults)
        self._refused_from: Counter[str] = Counter()
        self._known_faults: set[tuple[str, ...]] = set()

    def obey(self, server: ServerControl) -> None:
        """Begin to read commands for this server."""
        self._commands = Commands(self._reactor, server, self._desk.keys)
        self._save_orders = server.save_orders
        self._desk.open(self)
        # The server has told other operators before: its hook was there first.
        self._reactor.before_wait(self._end_turn)

    def show(self, *lines: str) -> None:
        """Show lines, all at once. If too many wait already, nobody reads them, or the disk is
        full to which they are written. Then they are only counted."""
        self._show_answers()
        self._show(lines)

    def _end_turn(self) -> None:
        self._show_answers()
        self._complaints.clear()

    def _show_answers(self) -> None:
        if self._answers:
            self._save_orders()
            answers, self._answers = self._answers, []
            self._show(answers)

    def _show(self, lines: Iterable[str]) -> None:
        size, taken = self._desk.queued_bytes, []
        for line in lines:
            if size > CONSOLE_QUEUE_BYTES:
                self._dropped += 1
                continue
            if self._dropped:
                taken.append(words.lines_dropped(self._dropped))
                self._dropped = 0
            taken.append(line)
            size += len(line)
        if taken:
            self._desk.show(taken)

    def news(self, *lines: str) -> None:
        """Show lines about something that goes as it should, unless nobody wants to see that."""
        if not self._quiet:
            self.show(*lines)

    def exchanged(self, count: int) -> None:
        """So many messages were relayed. Beyond a few lines a second they are summed up."""
        if not self._quiet and self._messages.take(count):
            self.show(*[words.exchanged(1, time.time())] * count)

    def _show_messages(self, count: int) -> None:
        self.show(words.exchanged(count, time.time()))

    def refused(self, line: str, source: str) -> None:
        """A connection from this source came to nothing, as the line says. Beyond a few lines a
        second they are summed up."""
        if self._quiet:
            return
        if self._refusals.take(1):
            self.show(line)
        else:
            self._refused_from[source] += 1

    def _show_refusals(self, count: int) -> None:
        ((source, from_there),) = self._refused_from.most_common(1)
        self._refused_from.clear()
        self.show(words.many_refused(count, source, from_there))

    def trouble_of_cluster(self, text: str) -> None:
        """Something is wrong with the servers that carry the rooms together, or with Redis. Beyond
        a few lines a second they are summed up."""
        if self._cluster.take(1):
            self.show(words.of_cluster(text, good_news=False))

    def _show_of_cluster(self, count: int) -> None:
        self.show(words.more_of_cluster(count))

    def complain(self, what: Trouble) -> None:
        """Something is wrong with one of the server's lists. Whoever gives a command in this turn
        is told, too."""
        line = words.list_trouble(what)
        self._complaints.append(line)
        # Answers that wait may be about what could not be written.
        self._show([line])

    def fault(self, fault: Exception, closed: str = "") -> None:
        """There is an error in this program. It is shown once; when it comes again it is only
        counted. `closed` is the member or the address whose connection was closed for it."""
        chain = list(chain_of(fault))
        which = tuple(part for one in chain for part in (kind_of(one), *places_of(one)[-1:]))
        if which in self._known_faults:
            self._faults.take(1)
            return
        self._known_faults.add(which)
        self.show(*words.fault([(kind_of(one), places_of(one)) for one in chain], closed))

    def _show_faults(self, count: int) -> None:
        self.show(words.faults_again(count))

    def close(self, *, anew: bool = False) -> None:
        """Show the last lines. `anew`: the server starts again."""
        self._desk.stop()
        self._show_answers()
        for ration in (self._messages, self._refusals, self._cluster, self._faults):
            ration.sum_up()
        if self._dropped:
            self._desk.show([words.lines_dropped(self._dropped)])
        if not self._quiet:
            self._desk.show([words.TERMINATED, words.STARTS_ANEW if anew else words.SHUT_DOWN])
        self._desk.close()

    # -- what operators ask for

    def terminate(self) -> None:
        """End the server; the second time: at once."""
        self.command("TERMINATE")

    def completions(self, line: str) -> tuple[int, list[str]]:
        """Where that begins which can be completed in a command, and what it could become."""
        assert self._commands is not None
        return self._commands.completions(line)

    def command(self, line: str, echo: str = "") -> None:
        """Obey a line that was typed here, or say why not."""
        if echo and self._answers:
            self._answers.append(echo)
        elif echo:
            self._show([echo])
        answer = self._carry_out(CONSOLE, line)
        lines = (*(answer.afar if self._quiet else answer.lines), *answer.here)
        self._answers += lines
        if len(lines) > 1 or answer.then is not None:
            self._show_answers()
        if answer.then is not None:
            answer.then()

    def command_from(self, operator: Operator, line: str) -> Answer:
        """Obey a line of another operator, who is to be sent the lines `afar` of the answer, but
        `save_orders` first. When they are on their way, `then` is to be called."""
        try:
            answer = self._carry_out(operator, line)
        except Exception as fault:
            self._reactor.contain(self, fault)
            answer = refused(words.COMMAND_FAILED)
        if answer.deed is not None:
            # If answers wait here, that writes what this operator has changed, too.
            self.news(words.deed(operator.name, operator.fingerprint, answer.deed.text))
        return answer

    def save_orders(self) -> list[str]:
        """Write what operators have changed. Returns what those who are answered then have to know:
        why something could not be written, or what else went wrong with a list in this turn.
        Somebody else may have caused the writing, and may have been told already."""
        self._save_orders()
        return list(self._complaints)

    def _carry_out(self, operator: Operator, line: str) -> Answer:
        assert self._commands is not None
        answer = self._commands.carry_out(line)
        if (deed := answer.deed) is not None:
            what = deed.word if deed.private else deed.text
            name, fingerprint = operator.name, operator.fingerprint
            self.log.note(Event.OPERATOR, fingerprint=fingerprint, name=name, text=what)
        return answer
