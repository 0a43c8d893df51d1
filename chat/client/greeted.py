"""The topic and the message of the day: as they are, and as our user was told of them.

A GREETING comes with each WELCOME, also when we come back and could not go on where we were, or the
server was started anew. What our user was told already is not told again.
"""

from chat.client.events import ClientEvent, MotdReceived, TopicSet
from chat.controls import Greeting
from chat.frozen import replace

_NONE = TopicSet("", 0, changed=False)


class Greeted:
    """What a participant knows of topic and message of the day."""

    def __init__(self) -> None:
        self.topic = _NONE
        self._motd = ""
        self._told_topic = self._told_motd = ""

    def welcome(self) -> None:
        """A WELCOME: unless a greeting follows, there is neither."""
        self.topic, self._motd = _NONE, ""

    def greet(self, greeting: Greeting) -> None:
        """What holds now, by the server's greeting."""
        self.topic = TopicSet(greeting.topic, greeting.since, changed=False)
        self._motd = greeting.motd

    def news(self) -> list[ClientEvent]:
        """We are in: what our user was not told before."""
        events: list[ClientEvent] = []
        if self.topic.text != self._told_topic:
            self._told_topic = self.topic.text
            # An empty one is news only to somebody who knows another.
            events.append(replace(self.topic, changed=not self.topic.text))
        if self._motd not in ("", self._told_motd):
            self._told_motd = self._motd
            events.append(MotdReceived(self._motd))
        return events

    def change(self, since: int, text: str) -> list[ClientEvent]:
        """The topic was set while we are in. Several servers may say so."""
        known, self.topic = self.topic, TopicSet(text, since, changed=False)
        if self.topic == known:
            return []
        self._told_topic = text
        return [TopicSet(text, since, changed=True)]
