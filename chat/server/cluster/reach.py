"""Whether what this server says comes back from Redis in time, and what follows where it does not.

Theory of operation
-------------------

While our beats do not come back, nothing that members say does, and the others take this server for
gone after SERVER_GONE_SECONDS. It is as bad if a room does not catch up for so long, though beats
come back. (That one room or another has just begun, and does not follow yet, is no trouble.) Then
(`look`) it depends on why:

    refused    Redis takes nothing, or lets nothing be read, by nobody as a rule. Everybody waits.
    away       Redis could not be reached, and nothing has come back since. It may be this server
               that is cut off.
    slow here  Beats of another server come back to it in time, as far as we have read. It is our
               way that is slow.
    slow       No other server is known that is better off.

Where it is away or slow here, this server is `cut_off`: members are let go, so that they go on at
another one, and newcomers are sent there. Where it is slow everywhere they stay, since sending
people around would only add to what Redis has to do. What we know of others may be old: when all
get slow, each may take the others for quick, and let its members go once. Then it reads that they
are slow, too.

It is over when a beat comes back in time again, and all rooms have caught up that were behind; a
connection that stands is not enough. The operator is told of each trouble once, and then once that
it is over.
"""

from collections.abc import Callable, Mapping

from chat.errors import ChatError
from chat.limits import SERVER_GONE_SECONDS
from chat.server import words
from chat.server.cluster.registry import Registry
from chat.server.cluster.room import OrderedRoom
from chat.server.cluster.store import Store
from chat.server.cluster.streams import Streams


class Reach:
    """See the module's text. `look` is to be called at each beat, and when one has come back."""

    def __init__(
        self,
        clock: Callable[[], float],
        store: Store,
        streams: Streams,
        registry: Registry,
        rooms: Mapping[bytes, OrderedRoom],
        report: Callable[..., None],
    ) -> None:
        """`rooms`: those that this server carries, as they come and go. `report`: see `Shared`."""
        self.cut_off = False
        self._clock = clock
        self._store = store
        self._streams = streams
        self._registry = registry
        self._rooms = rooms
        self._report = report
        self._was_away = False
        """Whether Redis could not be asked since the trouble began, or since it is known to be
        slow."""
        self._told: set[str] = set()
        """What was told of this trouble; empty: there is none."""
        self._trouble_at = 0.0
        """When it was noticed last: a beat that came back before says nothing."""
        self._up_at = clock()
        """Since when Redis can be asked, if it can."""

    def look(self) -> None:
        """See the module's text."""
        registry, since = self._registry, self._behind_since
        late = registry.unheard or self.rooms_behind > SERVER_GONE_SECONDS
        heard = self.hears and registry.heard_self_at > self._trouble_at
        # A room that has begun since then is no part of the trouble.
        caught_up = since is None or since > self._trouble_at
        if heard and registry.in_time and caught_up and not late:
            self._end_trouble()
        elif self.cut_off:
            if heard and not registry.others_in_time:
                # Redis is there. Who is sent around now would be sent around again and again.
                self.cut_off = self._was_away = False
                self._tell(words.SLOW_EVERYWHERE)
        elif not late or self._streams.refuses:
            return
        elif self._was_away:
            self._let_go(words.LETTING_GO)
        elif registry.others_in_time:
            self._let_go(words.SLOW_HERE)
        else:
            self._tell(words.SLOW_EVERYWHERE)

    @property
    def hears(self) -> bool:
        """Whether Redis can be asked, and our beats come back."""
        return self._store.up and not self._registry.unheard

    @property
    def _behind_since(self) -> float | None:
        """Since when Redis can be asked, and the room that is behind for longest does not follow;
        None: all follow, or it cannot be asked."""
        rooms = [one.behind_since for one in self._rooms.values() if one.behind_since is not None]
        return max(self._up_at, min(rooms)) if rooms and self._store.up else None

    @property
    def rooms_behind(self) -> float:
        """For how many seconds that is so; 0 if it is not."""
        since = self._behind_since
        return 0.0 if since is None else self._clock() - since

    def on_away(self, error: ChatError | None) -> None:
        """Redis cannot be asked any more, for this reason; None: it can."""
        if error is not None:
            self._was_away = True
            self._tell(words.redis_away(error))
        else:
            self._trouble_at = self._up_at = self._clock()

    def _let_go(self, text: str) -> None:
        self.cut_off = True
        self._tell(text)
        for room in self._rooms.values():
            room.let_go(words.CUT_OFF)

    def _tell(self, text: str) -> None:
        self._trouble_at = self._clock()
        if text not in self._told:
            self._told.add(text)
            self._report(text)

    def _end_trouble(self) -> None:
        if self._told:
            good_news = words.REDIS_BACK if self._was_away else words.REDIS_IN_TIME
            self._report(good_news, good_news=True)
        self._told.clear()
        self._was_away = self.cut_off = False
