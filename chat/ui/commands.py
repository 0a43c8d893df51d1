"""What a person can type: messages, and the commands that begin with a slash.

Lines from scripts do not pass here: they are sent as they are.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chat import phrases
from chat.client.events import MessageQueued, MessageReceived, Person, Warned
from chat.client.view import ChatClient
from chat.errors import OutboxFullError, UsageError
from chat.frozen import replace
from chat.guesses import nearest
from chat.limits import MAX_MEMBERS, MAX_PARTS, MAX_TEXT_BYTES
from chat.stdio import is_text
from chat.text import action_of, as_action, caseless_name, nearest_name
from chat.ui import addressee, completion, manual, transcript
from chat.ui.completion import Offer
from chat.ui.parts import parts_of
from chat.ui.quiet import MODES, Quiet

_PATH_OR_COMMENT = re.compile(r"/(\*|[^/\s]+/)")
"""Text that begins with a slash and is no command: those have no other slash in the word."""

_NUMBER = re.compile("[0-9]+")


class Commands:
    """Carries out what one person types."""

    def __init__(
        self,
        client: ChatClient,
        show: Callable[[Sequence[phrases.StatusLine]], None],
        clear: Callable[[bool], None] | None,
        unfold: Callable[[str], bool],
        recall: Callable[[str], None],
        quiet: Quiet,
        keys: Sequence[phrases.StatusLine] = (),
        edit: Callable[[str], None] | None = None,
    ) -> None:
        """`show` shows status lines. `clear` clears the screen and, if that is true, the
        scrollback; None: that cannot be. `unfold` shows what was folded under a number, or last if
        that is empty, and returns whether there is such a message. `recall` shows the last of what
        was said, or what has a text in it. `quiet` has whose coming and going is shown.
        `keys` are lines of the help, about the keys of this view. `edit` gives a text to the
        person's own editor; None: that cannot be."""
        self._client = client
        self._show = show
        self._clear = clear
        self._unfold = unfold
        self._recall = recall
        self._quiet = quiet
        self._keys = keys
        self._edit = edit
        self.bell = True
        """Whether the bell should ring."""
        self._has_cleared = False
        """Whether the person knows what /clear leaves."""
        self._speakers: dict[str, None] = {}
        self._hinted = ""
        """The last line, if it was not said but answered with a hint."""
        self._confidant: Person | None = None
        """Who said something to us in private last."""

    def message_of(self, line: str, *, pasted: bool = False) -> str | None:
        """The message that a line sends; None if it sends none. Pasted text is a message as it is,
        whatever it begins with."""
        word, _, argument = line.partition(" ")
        if not line.strip():
            return None
        if pasted or _PATH_OR_COMMENT.match(line):
            return line
        if line.split(maxsplit=1)[0].lower() in _PRIVATE:
            return None
        if line.startswith("//"):
            return line[1:]
        if word.lower() == "/me" and argument.strip():
            return as_action(argument.strip())
        return None if line.startswith("/") or line == "EXIT" else line

    def can_send(self, line: str, *, pasted: bool = False) -> bool:
        """Whether the line is a message that `take` would send now."""
        message = self.message_of(line, pasted=pasted)
        if message is None or not is_text(message) or self._client.full:
            return False
        return len(message.encode()) <= MAX_TEXT_BYTES

    def parts(self, line: str, *, pasted: bool = False) -> list[str]:
        """The parts in which a message that is too long could be sent; none if it is short enough,
        or cannot be sent in a few."""
        message = self.message_of(line, pasted=pasted)
        if message is None or not is_text(message) or action_of(message) is not None:
            return []
        if not MAX_TEXT_BYTES < len(message.encode()) <= MAX_PARTS * MAX_TEXT_BYTES:
            return []
        parts = parts_of(message)
        return parts if len(parts) <= MAX_PARTS else []

    def typed(self, text: str) -> str:
        """The line that sends this text when it is typed; empty if there is none."""
        for line in (text, "/" + text):
            if self.message_of(line) == text:
                return line
        return ""

    def take(self, line: str, *, pasted: bool = False) -> MessageQueued | None:
        """Send the line, or carry out its command. Returns the message, if it was one. A line that
        ends other programs is sent when it comes the second time.

        Raises:
            OutboxFullError: no message can be taken at the moment; other commands always can.
            UsageError: the message is too long, is no text, or it is private and not clear for
                whom.
        """
        hinted, self._hinted = self._hinted, ""
        message = self.message_of(line, pasted=pasted)
        if message in manual.LEAVES_ELSEWHERE and message != hinted and not pasted:
            self._hinted = message
            self._show([transcript.is_said(message)])
            return None
        if message is not None:
            self._refuse_when_full()
            return self._client.say(message)
        if line == "EXIT":
            self._client.leave()
        elif line.strip():
            return self._obey(line.lstrip())
        return None

    def _refuse_when_full(self) -> None:
        if self._client.full:
            raise OutboxFullError("no more messages can be taken for the moment")

    def _obey(self, line: str) -> MessageQueued | None:
        word, _, argument = line.partition(" ")
        command = _COMMANDS.get(word.lower())
        if (why := transcript.NOT_HERE.get(word.lower())) is not None:
            self._show([why])
        elif command is None:
            self._show([transcript.no_such_command(word, _nearest(word.lower()))])
        elif argument.strip() and not command.argument:
            self._show([_TAKE_NOTHING.get(word.lower(), phrases.takes_nothing(word.lower()))])
        else:
            return command.run(self, argument.strip())
        return None

    # -- the commands

    def _on_help(self, argument: str) -> None:
        word = "/" + argument.removeprefix("/").lower()
        if not argument:
            lines = [_help_line(each) for each in _COMMANDS]
            self._show([*lines, transcript.SLASH_LINE, *self._keys])
        elif word in _COMMANDS:
            more = [phrases.good(manual.ABOUT[word])] if word in manual.ABOUT else []
            self._show([_help_line(word), *more])
        else:
            self._show([transcript.no_such_command(word, _nearest(word))])

    def _on_who(self, _argument: str) -> None:
        members = self._marked_members()
        lines = [transcript.member(one) for one in members]
        self._show([phrases.members_count(len(members)), *lines])

    def _on_me(self, _argument: str) -> None:
        # With a text it would be a message.
        self._show([phrases.needs_argument("/me", "some text")])

    def _on_msg(self, argument: str) -> MessageQueued:
        self._refuse_when_full()
        return self._say_direct(*addressee.split(argument, self._client.members()))

    def _on_reply(self, text: str) -> MessageQueued:
        self._refuse_when_full()
        if not text:
            raise UsageError("/r needs some text")
        if self._confidant is None:
            raise UsageError("nobody has said anything to you in private yet")
        return self._say_direct(self._confidant, text)

    def _say_direct(self, person: Person, text: str) -> MessageQueued:
        queued = self._client.say_direct(person, text)
        if addressee.is_lost(person, self._client.members()):
            self._show(transcript.happened(Warned(transcript.when_back(person.name))))
        return queued

    def _on_edit(self, text: str) -> None:
        if self._edit is None:
            self._show([transcript.NO_EDITOR_HERE])
        else:
            self._edit(text)

    def _on_clear(self, argument: str) -> None:
        if argument.lower() not in ("", "all"):
            self._show([transcript.ALL_OR_NOTHING])
        elif self._clear is None:
            self._show([transcript.NOT_CLEARED])
        else:
            self._clear(bool(argument))
            if not argument and not self._has_cleared:
                self._has_cleared = True
                self._show([transcript.STILL_IN_SCROLLBACK])

    def _on_op(self, command: str) -> None:
        if not command:
            self._show([phrases.needs_argument("/op", "a command for the server, such as HELP")])
            return
        try:
            self._client.operate(command)
        except UsageError as error:
            self._show([transcript.refused(error.advice)])

    def _on_leave(self, word: str) -> None:
        try:
            self._client.leave(word)
        except UsageError as error:
            self._show([transcript.refused(error.advice)])

    def _on_trust(self, name: str) -> None:
        if not name:
            self._show([phrases.needs_argument("/trust", "a name")])
        elif (one := self._client.trust(name)) is None:
            self._show([self._nobody_named(name)])
        else:
            self._show([transcript.trusted(one)])

    def _on_ignore(self, name: str) -> None:
        if not name:
            self._show([transcript.ignoring(self._client.ignored())])
        elif caseless_name(name) == caseless_name(self._client.name):
            self._show([transcript.THAT_IS_YOU])
        elif ignored := self._client.ignore(name):
            self._show([transcript.ignoring([ignored])])
        else:
            self._show([self._nobody_named(name), transcript.IGNORED_BY_FINGERPRINT])

    def _on_unignore(self, name: str) -> None:
        if not name:
            self._show([phrases.needs_argument("/unignore", "a name")])
        elif not self._client.unignore(name):
            self._show([transcript.not_ignored(name)])
        else:
            self._show([transcript.ignoring(self._client.ignored())])

    def _nobody_named(self, name: str) -> phrases.StatusLine:
        return phrases.nobody_named(name, nearest_name(name, self._names()))

    def _on_more(self, number: str) -> None:
        if number and not _NUMBER.fullmatch(number):
            self._show([transcript.NOT_A_NUMBER])
        elif not self._unfold(number):
            self._show([transcript.not_folded(number)])

    def _on_bell(self, argument: str) -> None:
        if argument.lower() in ("on", "off"):
            self.bell = argument.lower() == "on"
            self._show([transcript.BELL[self.bell]])
        elif argument:
            self._show([transcript.on_or_off(self.bell)])
        else:
            self._show([transcript.BELL_STATE[self.bell]])

    def _on_last(self, argument: str) -> None:
        self._recall(argument)

    def _on_quiet(self, argument: str) -> None:
        if argument.lower() in MODES:
            self._quiet.mode = argument.lower()
        taken = argument.lower() in ("", *MODES)
        mode = self._quiet.mode
        self._show([transcript.QUIET[mode] if taken else transcript.quiet_takes(mode)])

    def _on_topic(self, _argument: str) -> None:
        self._show([transcript.topic(self._client.topic())])

    def _on_security(self, _argument: str) -> None:
        security = self._client.security()
        self._show(transcript.security(replace(security, members=tuple(self._marked_members()))))

    def _on_invite(self, _argument: str) -> None:
        self._show(transcript.invite(self._client.invite))

    def _marked_members(self) -> list[Person]:
        """The members, with a mark at our own name."""
        return [
            replace(one, name=transcript.yourself(one.name))
            if caseless_name(one.name) == caseless_name(self._client.name)
            else one
            for one in self._client.members()
        ]

    # -- messages from others, and completion

    def heard(self, said: MessageReceived) -> None:
        """Note who has spoken, for completion and for /r."""
        if not said.own:
            self._speakers.pop(said.name, None)
            self._speakers[said.name] = None
            if len(self._speakers) > MAX_MEMBERS:
                del self._speakers[next(iter(self._speakers))]
        if said.to and caseless_name(said.name) != caseless_name(self._client.name):
            self._confidant = Person(said.name, 0, said.fingerprint)

    def _names(self) -> list[str]:
        """All members, the most recent speakers first."""
        present = {one.name: None for one in self._client.members()}
        spoken = [name for name in reversed(self._speakers) if name in present]
        return list(dict.fromkeys([*spoken, *present]))

    def completions(self, line: str) -> Offer:
        """What the end of a line could become."""
        word, blank, _ = line.partition(" ")
        if word.startswith("/") and not blank:
            return Offer(0, [f"{each} " for each in _COMMANDS if each.startswith(word.lower())])
        command = _COMMANDS.get(word.lower())
        if command is None:
            return completion.names(line, 0, self._others())
        begin = len(line) - len(line[len(word) :].lstrip())
        return command.complete(self, line, begin)

    def _others(self) -> list[str]:
        return [name for name in self._names() if name != self._client.name]

    def _complete_text(self, line: str, begin: int) -> Offer:
        return completion.names(line, begin, self._others())

    def _complete_name(self, line: str, begin: int) -> Offer:
        return completion.words(line, begin, self._others())

    def _complete_ignored(self, line: str, begin: int) -> Offer:
        return completion.words(line, begin, self._client.ignored())

    def _complete_addressee(self, line: str, begin: int) -> Offer:
        offer = completion.words(line, begin + (line[begin:][:1] == '"'), self._others())
        if offer.words:
            return Offer(begin, [f"{addressee.quoted(name)} " for name in offer.words])
        return self._complete_text(line, begin)

    def _complete_on_or_off(self, line: str, begin: int) -> Offer:
        return completion.words(line, begin, ("on", "off"))

    def _complete_quiet(self, line: str, begin: int) -> Offer:
        return completion.words(line, begin, MODES)

    def _complete_all(self, line: str, begin: int) -> Offer:
        return completion.words(line, begin, ("all",))

    def _complete_command(self, line: str, begin: int) -> Offer:
        return completion.words(line, begin + (line[begin:][:1] == "/"), map(_bare, _COMMANDS))

    def _complete_nothing(self, line: str, _begin: int) -> Offer:
        return Offer(len(line), [])


def _help_line(word: str) -> phrases.StatusLine:
    command = _COMMANDS[word]
    return transcript.command_line(f"{word} {command.argument}", command.help)


def _nearest(word: str) -> str:
    """The command that somebody may have meant with a word that is none; empty if there is none."""
    # A slash alone is not near to /r.
    return manual.CALLED_HERE.get(word) or nearest(word, _COMMANDS)


def _bare(command: str) -> str:
    return command.removeprefix("/")


class _Command(NamedTuple):
    """What stands in the help for a command, and the methods that carry it out and complete it."""

    argument: str
    help: str
    run: Callable[[Commands, str], MessageQueued | None]
    complete: Callable[[Commands, str, int], Offer] = Commands._complete_nothing


_COMMANDS = {
    "/help": _Command(
        "command", "show this, or about one command", Commands._on_help, Commands._complete_command
    ),
    "/who": _Command("", "list the members and their keys, since when", Commands._on_who),
    "/me": _Command("waves", "tell what you do", Commands._on_me, Commands._complete_text),
    "/msg": _Command(
        "name text",
        "say something to one person alone",
        Commands._on_msg,
        Commands._complete_addressee,
    ),
    "/r": _Command(
        "text", "answer the last private message", Commands._on_reply, Commands._complete_text
    ),
    "/edit": _Command(
        "text",
        "write in your own editor: $VISUAL or $EDITOR",
        Commands._on_edit,
        Commands._complete_text,
    ),
    "/ignore": _Command(
        "name",
        "hide the messages of somebody; without a name, list them",
        Commands._on_ignore,
        Commands._complete_name,
    ),
    "/unignore": _Command(
        "name",
        "show the messages of somebody again",
        Commands._on_unignore,
        Commands._complete_ignored,
    ),
    "/trust": _Command(
        "name",
        "believe the key that a name has now",
        Commands._on_trust,
        Commands._complete_name,
    ),
    "/last": _Command(
        "20|text", "show what was said last, or find a text in it", Commands._on_last
    ),
    "/more": _Command(
        "number", "show all of a folded message; without a number, the last", Commands._on_more
    ),
    "/bell": _Command(
        "on|off", "ring when your name is said", Commands._on_bell, Commands._complete_on_or_off
    ),
    "/quiet": _Command(
        "MODE",
        "sum up who comes and goes: on, off or smart",
        Commands._on_quiet,
        Commands._complete_quiet,
    ),
    "/topic": _Command("", "show the topic, since when", Commands._on_topic),
    "/security": _Command(
        "", "what protects this conversation, and whose keys you know", Commands._on_security
    ),
    "/invite": _Command("", "show the invite, for people who are to come in", Commands._on_invite),
    "/op": _Command("WHO", "give the server a command, if you operate it", Commands._on_op),
    "/clear": _Command(
        "all",
        "clear the screen; all: the scrollback, too",
        Commands._on_clear,
        Commands._complete_all,
    ),
    "/exit": _Command("word", "leave (also EXIT, Ctrl-D), perhaps with a word", Commands._on_leave),
    "/quit": _Command("word", "leave, perhaps with a word to the others", Commands._on_leave),
}
"""All commands, in the order of the help."""

_TAKE_NOTHING = {"/topic": transcript.NOT_YOURS}
"""What is said to an argument behind these, where there is more to say than that."""

_PRIVATE = ("/msg", "/r")
"""What stands behind these is never for everybody, not even when there is a blank before them."""
