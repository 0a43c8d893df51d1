"""The server, put together from what the command line asks for: files, the operator's place, rooms.

What a server is and does is in `server`. Slow imports are made where they are needed.
"""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from chat import journal
from chat.errors import EditorMissingError, IdentityError, UsageError
from chat.frozen import replace
from chat.limits import MAX_MEMBERS, SPARE_DESCRIPTORS
from chat.reactor import Reactor
from chat.startup import history_of, keys_folder, load_key, what_an_editor_needs
from chat.stdio import LineOutput, descriptor_of, encoding, has_terminal, is_terminal

if TYPE_CHECKING:
    from chat.clustering import Clustering
    from chat.server.access import Access
    from chat.server.cluster.cluster import Cluster
    from chat.server.console import Console
    from chat.server.desk import Desk
    from chat.server.greeting import Greeting
    from chat.server.lists import Complain
    from chat.server.operators import Operators
    from chat.server.oplog import OperatorLog
    from chat.server.rooms import RoomRules


def serve(options: argparse.Namespace) -> None:
    """Run a server until it ends, and start it again if it is to."""
    from chat import phrases
    from chat.inherited import inherited, start_anew
    from chat.localtime import look_again
    from chat.server import words
    from chat.server.console import Console
    from chat.server.server import Server
    from chat.server.service import Service
    from chat.sockets import address_text, listen

    if options.check:
        from chat.clustering import check_only

        check_only(options, _try_files)
        return
    _allow_many_descriptors(options.pending)
    handed = inherited(os.environ)
    listeners = handed or listen(options.host, options.port)
    for listener in listeners:
        journal.note("server", f"listens on {address_text(*listener.getsockname()[:2])}")
    with closing(Reactor()) as reactor, ExitStack() as listening, ExitStack() as places:
        for listener in listeners:
            listening.enter_context(listener)
        output = LineOutput(reactor, descriptor_of(sys.stdout), encoding())
        clustering = _clustering(options)
        key = load_key(options, partial(output.write, phrases.MAKING_KEY))
        spare = []
        if clustering is not None:
            clustering.prepare(key.public, output.write, serves=True)
            # It closes its listeners when it goes. Those that we were handed stay open with whoever
            # did so, and nobody else takes what comes there: the next program needs them.
            spare = [listening.enter_context(listener.dup()) for listener in handed]
        reactor.on_signals([signal.SIGCONT], look_again)
        desk = places.enter_context(closing(_desk(options, reactor, output)))

        def miss_log(why: str) -> None:
            console.show(words.log_trouble(why))

        log = places.enter_context(closing(_operator_log(options, reactor, miss_log)))
        console = Console(reactor, desk, log, quiet=options.quiet)
        complain = console.complain
        access, greeting = _access(options, complain), _greeting(options, complain)
        company = None
        if clustering is not None:
            company = _company(clustering, reactor, listeners, access, greeting, console)
        server = Server(
            reactor,
            listeners,
            key,
            console,
            options.grace,
            options.rate,
            options.pending,
            options.pending_per_source,
            _rules(options, complain),
            access,
            comes_back=not options.ephemeral,
            greeting=greeting,
            operators=_operators(options, complain),
            company=company,
        )
        service = Service(reactor, server, os.environ)
        reactor.on_fault = server.on_fault
        had_terminal = has_terminal()

        def hang_up() -> None:
            # The terminal is gone, or somebody wants us to read our files again.
            if had_terminal and not has_terminal():
                server.terminate()
            else:
                service.reload()

        reactor.on_signals([signal.SIGINT], desk.interrupt)
        reactor.on_signals([signal.SIGTERM], server.pause)
        reactor.on_signals([signal.SIGHUP], hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
        _tell_where(console, listeners, key.public.fingerprint, open_room=not options.no_open_room)
        if company is not None:
            console.show(words.ONE_OF_SEVERAL)
        console.obey(server)
        with _admin_door(options, reactor, console):
            service.begin()
            server.run()
        console.close(anew=server.starts_anew)
        if server.starts_anew:
            # It would end the program until the new one hears it; so it waits for that one.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
            listening.pop_all()
    if server.starts_anew:
        start_anew(spare or [listener for listener in listeners if listener.fileno() >= 0])


def _clustering(options: argparse.Namespace) -> "Clustering | None":
    """What there is to know of other servers; None if there are none."""
    if not options.cluster:
        # It would serve rooms of its own, and nobody would notice.
        for one in ("cluster_key", "cluster_name", "cluster_password_file", "cluster_ca"):
            if getattr(options, one) is not None:
                raise UsageError(f"--{one.replace('_', '-')} is for a cluster", "--cluster URL")
        return None
    from chat.clustering import Clustering

    return Clustering(options)


def _company(
    clustering: "Clustering",
    reactor: Reactor,
    listeners: Sequence[socket.socket],
    access: "Access",
    greeting: "Greeting",
    console: "Console",
) -> "Cluster":
    """The other servers."""
    from chat.clustering import title_of
    from chat.server.cluster.shared import SharedLists

    shared = SharedLists(access, greeting, console)
    for note in clustering.notes:
        shared.report(note)
    return clustering.join(reactor, title_of(listeners), shared)


def _tell_where(
    console: "Console", listeners: Sequence[socket.socket], fingerprint: str, *, open_room: bool
) -> None:
    """Show where the server runs, and how others come in."""
    from chat.server import words
    from chat.sockets import own_host, reachable_at

    hosts = [own_host(listener) for listener in listeners]
    port = listeners[0].getsockname()[1]
    console.show(*words.running(", ".join(hosts), port, fingerprint))
    outside = reachable_at(hosts)
    if outside is None:
        console.show(words.ONLY_HERE)
    host = outside or hosts[0]
    console.show(*words.invitation(host, port, fingerprint, open_room=open_room))


def _desk(options: argparse.Namespace, reactor: Reactor, output: LineOutput) -> "Desk":
    """Where the operator sits: the one that fits the standard streams."""
    from chat import phrases
    from chat.server.desk import PlainDesk

    source = descriptor_of(sys.stdin)
    if source is not None and is_terminal(source) and output.is_terminal:
        try:
            with what_an_editor_needs():
                from chat.ui.desk import TerminalDesk
            history = history_of(options, "server_history")
            return TerminalDesk(reactor, source, output, history)
        except EditorMissingError as error:
            from chat.ui.wrap import fitting

            rows = fitting(phrases.no_editing(error.advice), output.columns)
            output.write("\n".join(rows))
    return PlainDesk(reactor, source, output)


def _operator_log(
    options: argparse.Namespace, reactor: Reactor, complain: Callable[[str], None]
) -> "OperatorLog":
    """Where it is noted what happens, if anywhere."""
    from chat.files.logs import open_log
    from chat.server.oplog import LogFile, OperatorLog

    if not options.log:
        return OperatorLog(reactor)
    return OperatorLog(reactor, LogFile(reactor, partial(open_log, options.log), complain))


def _operators(options: argparse.Namespace, complain: "Complain") -> "Operators":
    """Which members are operators. With --ephemeral there is no folder for the list."""
    from chat.files.keyfolder import OPERATORS
    from chat.files.lists import ListFile
    from chat.server.operators import Operators

    if options.ephemeral:
        return Operators()
    operators = ListFile(keys_folder(options) / OPERATORS, "list of operators")
    operators.require(may_be_missing=True)
    return Operators(complain, operators)


@contextmanager
def _admin_door(
    options: argparse.Namespace, reactor: Reactor, console: "Console"
) -> Iterator[None]:
    """Within this, the program `admin` can operate the server. With --ephemeral it cannot: there is
    no folder for the socket."""
    from chat.files.adminsocket import AdminSocket
    from chat.files.keyfolder import ADMIN_SOCKET
    from chat.server import words
    from chat.server.admin import AdminDoor

    if options.ephemeral:
        yield
        return
    try:
        admin_socket = AdminSocket(keys_folder(options) / ADMIN_SOCKET)
    except IdentityError as error:
        console.show(words.no_admin(error))
        yield
        return
    with closing(admin_socket), closing(AdminDoor(reactor, admin_socket.listener, console)) as door:
        door.open()
        yield


def _rules(options: argparse.Namespace, complain: "Complain") -> "RoomRules":
    """What rooms there may be."""
    from chat.files.lists import ListFile
    from chat.server.rooms import ListedTags, RoomRules

    rules = RoomRules(not options.no_open_room, options.max_rooms)
    if not options.room_tags:
        return rules
    tags = ListFile(options.room_tags, "list of tags")
    tags.require()
    listed = ListedTags(tags, complain)
    return replace(rules, is_allowed=listed, refresh=listed.refresh)


def _access(options: argparse.Namespace, complain: "Complain") -> "Access":
    """Who may come in. With --ephemeral, bans and names are kept for this run."""
    from chat.files.keyfolder import BANS, NAMES
    from chat.files.lists import ListFile
    from chat.server.access import Access

    keys = bans = names = None
    if options.authorized_keys:
        keys = ListFile(options.authorized_keys, "list of keys")
        # What is missing now is a mistake. Later it may be missing while somebody replaces it.
        keys.require()
    if not options.ephemeral:
        bans = ListFile(keys_folder(options) / BANS, "list of bans")
        # Later what was read last holds, and now there is nothing that could.
        bans.require(may_be_missing=True)
        if options.keep_names:
            names = ListFile(keys_folder(options) / NAMES, "list of names", durably=False)
    return Access(complain, keys=keys, bans=bans, names=names, keep_days=options.keep_names)


def _greeting(options: argparse.Namespace, complain: "Complain") -> "Greeting":
    """What newcomers are told. With --ephemeral, the topic is kept for this run."""
    from chat.files.keyfolder import TOPIC
    from chat.files.lists import ListFile
    from chat.files.motd import MotdFile
    from chat.server.greeting import Greeting

    motd = topic = None
    if options.motd:
        # What cannot be read now is a mistake.
        MotdFile(options.motd).read()
        motd = MotdFile(options.motd)
    if not options.ephemeral:
        topic = ListFile(keys_folder(options) / TOPIC, "topic")
        topic.require(may_be_missing=True)
    return Greeting(complain, topic=topic, motd=motd)


def _try_files(options: argparse.Namespace, complain: "Complain") -> None:
    """Read the lists that the server would read, and look at the log that it would write.

    Raises:
        IdentityError: it could not start, for one of its files.
    """
    for read in (_access, _greeting, _rules, _operators):
        read(options, complain).refresh()
    if options.log:
        from chat.files.logs import try_log

        try_log(options.log)


def _allow_many_descriptors(pending: int) -> None:
    """Raise the soft limit, which is usually 1,024: each connection takes a descriptor. If the
    system refuses so many, half as many are asked for, and so on."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_MEMBERS + pending + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    while soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            wanted //= 2
        else:
            return
