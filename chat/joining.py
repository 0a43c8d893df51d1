"""The client, put together from what the command line asks for: where to connect, and what shows
the conversation.

What a client is and does is in `client`, and what its views look like in `ui`. Slow imports are
made where they are needed.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from chat.errors import ChatError, EditorMissingError, UsageError
from chat.limits import CONSOLE_LINE_BYTES, PATIENCE_SECONDS
from chat.meanings import MAX_INPUT_BYTES, STANDARD_INPUT, message_of
from chat.reactor import Reactor
from chat.startup import history_of, keys_folder, known_servers, load_key, what_an_editor_needs
from chat.stdio import LineOutput, descriptor_of, encoding, is_terminal, read_whole

if TYPE_CHECKING:
    from chat.client.view import View
    from chat.files.members import MembersFile
    from chat.kex import PublicKey
    from chat.targets import Target
    from chat.ui.feed import Feed
    from chat.ui.style import Painter


def join(options: argparse.Namespace) -> None:
    """Be in the room until the person leaves."""
    target = _target(options)
    with closing(Reactor()) as reactor, closing(_view(options, reactor)) as view:
        if options.by_login:
            from chat.client.events import NamedByLogin

            view.show(NamedByLogin(options.name))
        _converse(options, target, reactor, view)


def send(options: argparse.Namespace) -> None:
    """Say one thing."""
    from chat.ui.single import SingleView

    target = _target(options)
    text = _text_to_send(options)
    with closing(Reactor()) as reactor:
        errors = LineOutput(reactor, descriptor_of(sys.stderr), encoding())
        report = None
        if options.json:
            report = LineOutput(reactor, descriptor_of(sys.stdout), encoding())
        with closing(SingleView(reactor, text, errors, report)) as view:
            _converse(options, target, reactor, view, caller=True)


def _target(options: argparse.Namespace) -> "Target":
    """Where to connect. The person may be asked for it, so this comes before any view."""
    from chat.targets import target_of

    return target_of(options.place, lambda: keys_folder(options), options.alias)


def _text_to_send(options: argparse.Namespace) -> str:
    """The message of `send`. Standard input is read before we connect."""
    text: str | None = options.text
    source = descriptor_of(sys.stdin)
    strip = _strip(options)
    if text is None and is_terminal(source):
        raise UsageError("the text is missing", "it stands behind the name, or comes from a pipe")
    if text is not None and text != STANDARD_INPUT:
        return text if strip is None else message_of(text.encode(), strip)
    # More than this is too long in any case, and may never end.
    return message_of(read_whole(source, CONSOLE_LINE_BYTES if strip else MAX_INPUT_BYTES), strip)


def _strip(options: argparse.Namespace) -> Callable[[str], str] | None:
    """What to make of what comes from a pipe, if anything."""
    if not options.strip:
        return None
    from chat.ui.strip import strip

    return strip


def _view(options: argparse.Namespace, reactor: Reactor) -> "View":
    """The view that fits the standard streams."""
    from chat import localtime, phrases
    from chat.ui import style
    from chat.ui.plain import LineView

    source = descriptor_of(sys.stdin)
    output = LineOutput(reactor, descriptor_of(sys.stdout), encoding())
    color = "never" if options.plain else options.color
    colours = style.choose_colours(color, os.environ, output.is_terminal)
    usual = localtime.SHORT_TIME_FORMAT if output.is_terminal else localtime.TIME_FORMAT
    time_format = usual if options.time is None else options.time
    is_dumb = options.plain or os.environ.get("TERM", "dumb") == "dumb"
    painter = style.Painter(options.name, colours, time_format, encoding(), is_dumb=is_dumb)
    reactor.on_signals([signal.SIGCONT], localtime.look_again)
    errors = LineOutput(reactor, descriptor_of(sys.stderr), encoding())
    on_terminal = is_terminal(source)
    feed = _feed(options, reactor, on_terminal=on_terminal and not options.json)
    strip = None if on_terminal else _strip(options)
    if options.json:
        from chat.ui.jsonlines import JsonView

        return JsonView(
            reactor, source, output, painter, errors, strip, feed, listens=options.listen
        )
    if source is not None and on_terminal and output.is_terminal and not options.plain:
        try:
            return _screen(options, reactor, source, output, painter, feed)
        except EditorMissingError as error:
            rows = painter.status([phrases.no_editing(error.advice)], output.columns)
            output.write("\n".join(rows))
    return LineView(reactor, source, output, painter, errors, strip, feed, listens=options.listen)


def _feed(options: argparse.Namespace, reactor: Reactor, *, on_terminal: bool) -> "Feed":
    """What takes all that happens. Only people are spared something of it."""
    from chat.ui.feed import Feed
    from chat.ui.quiet import Quiet
    from chat.ui.record import Record

    record = None
    if options.log:
        from chat.files.said import SaidFile

        entries = SaidFile(options.log)
        entries.require()
        record = Record(entries, options.name)
    return Feed(Quiet(reactor.clock, options.quiet if on_terminal else "off"), record)


def _screen(
    options: argparse.Namespace,
    reactor: Reactor,
    source: int,
    output: LineOutput,
    painter: "Painter",
    feed: "Feed",
) -> "View":
    from chat.ui import notify

    with what_an_editor_needs():
        from chat.ui.screen import Screen
    history = history_of(options, "history")
    notification = notify.choose(options.notify, os.environ)
    term = os.environ["TERM"]
    return Screen(reactor, source, output, painter, history, term, notification, feed)


def _converse(
    options: argparse.Namespace,
    target: "Target",
    reactor: Reactor,
    view: "View",
    *,
    caller: bool = False,
) -> None:
    from chat.client.client import Client
    from chat.client.events import Failed, MakingKey, Warned
    from chat.kex import RoomKey
    from chat.sleep import SleepWatch
    from chat.targets import is_right_key, way_to

    servers = known_servers(options, read_only=options.ephemeral)

    def trust(key: "PublicKey") -> str | None:
        def warn(why: str) -> None:
            view.show(Warned(why))

        return is_right_key(target, options.fingerprint, key, servers, warn, dialer.server)

    def announce() -> None:
        view.show(MakingKey())
        view.spin()

    patience = options.patience
    if patience is None and (caller or not is_terminal(descriptor_of(sys.stdin))):
        patience = PATIENCE_SECONDS
    try:
        # The host is looked up while the key is loaded.
        with closing(way_to(target, reactor, options.proxy)) as dialer:
            key = load_key(options, announce, view.spin)
            room_key = None if target.room_key is None else RoomKey(target.room_key)
            client = Client(
                reactor,
                dialer,
                options.name,
                key,
                trust,
                view,
                patience,
                room_key=room_key,
                # A caller shows nobody anything of the members.
                members=None if caller else _known_members(options),
                caller=caller,
                persistent=options.patience is not None,
                named=bool(options.fingerprint),
            )
            reactor.on_signals([signal.SIGINT], view.interrupt)
            reactor.on_signals([signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], client.leave)
            with closing(SleepWatch(reactor, client.wake)):
                client.run()
        if not client.has_joined:
            raise ChatError("interrupted")
    except ChatError as error:
        view.show(Failed(str(error), error.hint, error.exit_status))
        raise


def _known_members(options: argparse.Namespace) -> "MembersFile":
    from chat.files.keyfolder import KNOWN_MEMBERS
    from chat.files.members import MembersFile

    return MembersFile(keys_folder(options) / KNOWN_MEMBERS, read_only=options.ephemeral)
