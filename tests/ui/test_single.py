"""One message alone: it is said once, and what became of it is told."""

import json

import pytest

from chat.client import events
from chat.errors import UsageError
from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui.single import SingleView
from tests.support.conversation import LONGEST, NotedClient
from tests.support.loopback import Screen


def single(reactor: Reactor, text: str) -> tuple[SingleView, NotedClient]:
    errors = LineOutput(reactor, 2, "utf-8")
    view, client = SingleView(reactor, text, errors), NotedClient()
    view.open(client)
    return view, client


@pytest.mark.parametrize("text", ["Hi", "/help", "EXIT", "one\ntwo", '{"leave": true}'])
def test_single_message_is_said_as_it_is_once_it_is_wanted(reactor: Reactor, text: str) -> None:
    view, client = single(reactor, text)
    view.take_input(False)
    assert client.noted == []
    assert view.count_undelivered() == 1
    for _ in range(3):
        view.take_input(True)
    assert client.noted == [f"say {text}", "finish"]
    assert (view.count_undelivered(), view.not_sent) == (0, 0)


def test_single_message_that_is_too_long_is_an_error(reactor: Reactor) -> None:
    view, client = single(reactor, "x" * (LONGEST + 1))
    with pytest.raises(UsageError):
        view.take_input(True)
    view.take_input(True)
    assert client.noted == []


def test_single_message_shows_nothing_and_can_be_interrupted(
    reactor: Reactor, capfd: pytest.CaptureFixture[str]
) -> None:
    view, client = single(reactor, "Hi")
    view.show(events.MemberJoined("Thea"))
    view.show(events.MessageReceived("Thea", 0, "Hi", own=False))
    view.spin()
    view.interrupt()
    view.stop()
    view.close()
    assert client.noted == ["leave"]
    assert view.output.queued_bytes == 0
    assert capfd.readouterr() == ("", "")


def test_single_message_tells_what_is_odd_until_it_is_said(
    reactor: Reactor, capfd: pytest.CaptureFixture[str]
) -> None:
    view, _ = single(reactor, "Hi")
    view.show(events.Warned("nobody\nanswers; trying again"))
    view.take_input(True)
    view.show(events.Warned("Thea: something that others would say"))
    view.close()
    assert capfd.readouterr() == ("", "chat: warning: nobody\\nanswers; trying again\n")


def test_what_became_of_a_single_message_is_one_object(reactor: Reactor) -> None:
    screen = Screen(reactor)
    view = SingleView(reactor, "Hi", LineOutput(reactor, None, "utf-8"), screen.output)
    view.open(NotedClient())
    for event in (
        events.MemberJoined("Thea"),
        events.MessageReceived("Thea", 0, "Hi", own=False),
        events.MessageReceived("Ira", 0, "Hi", own=True, number=1),
        events.Failed("it failed", "try again", 1),
    ):
        view.show(event)
    acknowledged, error = map(json.loads, screen.lines())
    assert (acknowledged["event"], acknowledged["number"]) == ("acknowledged", 1)
    assert error == {"event": "error", "text": "it failed", "hint": "try again", "exit_status": 1}
    screen.close()
