"""The `Mirror` that tells somebody: a tail of the journal whose store is a receiver of messages.

    journal ─► SweepNews ─► messages not sent yet ─► POST     away: all of them again, later
                                                              refused: noted in the journal, the rest is sent

The cursor moves when a batch's messages are delivered, so none is lost. A kill in between sends those of a batch again,
under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rnnsweep.adapters.webhooks.delivery import TIMEOUT_S, RefusedError, body, post
from rnnsweep.adapters.webhooks.messages import Message, SweepNews, Wanted
from rnnsweep.errors import ConfigError, StoreError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.views import SweepView


@dataclass(frozen=True)
class Receiver:
    """Who is told.

    Attributes:
        name: of the mirror. form: generic or slack.
        address: finds the URL, which is kept nowhere; `ConfigError` where it is not known.
        timeout: seconds that it may be silent.
    """

    name: str
    form: str
    address: Callable[[], str]
    timeout: float = TIMEOUT_S


class WebhookMirror:
    """Implements `Mirror` for one receiver.

    Attributes:
        batch: journal entries per `write`; after a kill the messages of so many may come twice.
    """

    batch = 500

    def __init__(self, receiver: Receiver, sweep: SweepView, plan: SweepPlan, wanted: Wanted) -> None:
        self.name = receiver.name
        self._receiver, self._sweep, self._plan, self._wanted = receiver, sweep, plan, wanted
        self._news = SweepNews(sweep, plan, wanted)
        self._unsent: list[Message] = []
        self._refused: dict[str, str] = {}

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """True: what was sent is sent. Learns from these entries what was best and failed before."""
        self._news, self._unsent = SweepNews(self._sweep, self._plan, self._wanted), []
        for changes in batches:
            for change in changes:
                self._news.take(change)
        return True

    def start_over(self) -> None:
        """Nothing is in the way; does not happen, as `holds` is always true."""

    def write(self, changes: Sequence[Change]) -> None:
        """Send what these entries are worth, in order.

        Raises:
            StoreError: the receiver is away, or its address is not known; the rest is sent later.
            RefusedError: it will not have one of them.
        """
        if changes:
            # an entry that was refused for good has been left out by now, and its message with it
            self._unsent = [message for message in self._unsent if message.seq >= changes[0].seq]
        for change in changes:
            self._unsent += self._news.take(change)
        while self._unsent and self._unsent[0].seq <= changes[-1].seq:
            self._send(self._unsent[0], alone=len(changes) == 1)
            del self._unsent[0]

    def close(self) -> None:
        """Nothing is open between calls."""

    def _send(self, message: Message, alone: bool) -> None:
        # refused once, its entry is looked for in ever smaller parts: it is sent again only when that is found
        if message.id in self._refused and not alone:
            raise RefusedError(self._refused[message.id])
        try:
            url = self._receiver.address()
        except ConfigError as error:
            raise StoreError(self.name, str(error)) from None
        content = body(self._receiver.form, message.payload)
        try:
            post(self.name, url, content, message.id, self._receiver.timeout)
        except RefusedError as error:
            self._refused[message.id] = str(error)
            raise
