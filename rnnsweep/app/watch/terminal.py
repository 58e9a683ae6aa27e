"""The screen of `rnnsweep watch`.

┌ how the sweep stands ────────────────┐     read: a thread, every second ─► SweepFeed ─► Snapshot ─► _show
│ table of trials                      │     keys: a thread for each request ─► Sweep.request, Sweep.stop
│ details of the trial under the cursor│
│ its curve, over that of the best     │
└ note, keys ──────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from rnnsweep.app.remote.remote_sweep import RemoteSweep
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.watch.braille import GUTTER, draw
from rnnsweep.app.watch.feed import Points, Snapshot, SweepFeed
from rnnsweep.app.watch.journal_source import JournalSource, ServiceSource, StoreSource
from rnnsweep.app.watch.prompts import LinePrompt, YesNo
from rnnsweep.app.watch.trial_table import Selection, cells, columns_of, widths
from rnnsweep.app.watch.words import details, headline
from rnnsweep.errors import ConfigError, RnnsweepError, printable

OBJECTIVE = "objective"
COLOURS = ("bright_black", "cyan")
"""Of the best trial's curve, and of the chosen one's."""


def source_of(sweep: Sweep | RemoteSweep) -> JournalSource:
    """Where its journal is read."""
    return ServiceSource(sweep) if isinstance(sweep, RemoteSweep) else StoreSource(sweep.place, sweep.name)


class WatchApp(App[None]):
    """Shows one sweep until q.

    Attributes:
        snapshot: what was read last; None before the first.
        selection: which trials are listed, and how.
    """

    TITLE = "rnnsweep"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 2; background: $primary-background; padding: 0 1; }
    #trials { height: 1fr; min-height: 4; }
    #details { height: auto; max-height: 45%; padding: 0 1; display: none; }
    #curve { height: 7; padding: 0 1; }
    #note { height: 1; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("p", "pause", "pause/go on"),
        Binding("e", "end_trial", "end"),
        Binding("s", "stop", "stop sweep"),
        Binding("o", "sort", "sort"),
        Binding("r", "reverse", "reverse", show=False),
        Binding("slash", "filter", "filter"),
        Binding("d,enter", "details", "details"),
        Binding("m", "metric", "metric"),
        Binding("b", "best", "best", show=False),
    ]

    def __init__(self, sweep: Sweep | RemoteSweep, every: float = 1.0) -> None:
        super().__init__()
        self._sweep, self._every = sweep, every
        self._feed = SweepFeed(source_of(sweep))
        self.snapshot: Snapshot | None = None
        self.selection = Selection()
        self._busy, self._lost = False, True
        self._columns: list[str] = []
        self._rows: dict[str, list[str]] = {}
        self._widths: dict[str, int] = {}
        self._metric = OBJECTIVE
        self._metrics: dict[str, Points] = {}

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Static("reading the store …", id="head", markup=False)
        yield DataTable(id="trials", cursor_type="row", zebra_stripes=True)
        yield Static(id="details", markup=False)
        yield Static(id="curve", markup=False)
        yield Static(id="note", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one(DataTable).focus()
        self.look()
        self.set_interval(self._every, self.look)

    def on_unmount(self) -> None:
        """Leave the store."""
        self._feed.close()

    # ------------------------------------------------------------------ reading

    def look(self) -> None:
        """Read the store, unless that is under way: one that is slow is not asked for more."""
        if not self._busy:
            self._busy = True
            self._read()

    @work(thread=True)
    def _read(self) -> None:
        try:
            number = self.chosen if self._metric != OBJECTIVE else None
            snapshot = self._feed.read()
            metrics = {} if number is None else self._feed.metrics(number)
            self.call_from_thread(self._show, snapshot, metrics)
        except RnnsweepError as error:  # the last picture stays; the next look may find the store again
            self.call_from_thread(self._lose, str(error))
        finally:
            self._busy = False

    def _show(self, snapshot: Snapshot, metrics: dict[str, Points]) -> None:
        self.snapshot, self._metrics = snapshot, metrics
        self.query_one("#head", Static).update(headline(snapshot))
        if self._lost:
            self._lost = False
            self.say()
        self._fill()

    def _lose(self, why: str) -> None:
        self._lost = True
        self.say(f"error: {why}")

    def say(self, text: str = "") -> None:
        """Put a line above the keys; without a text, how the table is sorted and filtered."""
        self.query_one("#note", Static).update(printable(text) if text else str(self.selection))

    # ------------------------------------------------------------------ drawing

    @property
    def chosen(self) -> int | None:
        """Number of the trial under the cursor."""
        numbers, row = list(self._rows), self.query_one(DataTable).cursor_row
        return int(numbers[row]) if 0 <= row < len(numbers) else None

    def _fill(self) -> None:
        """Bring the table up to date: single cells where the trials and their order have stayed."""
        assert self.snapshot is not None
        table, every = self.query_one(DataTable), self.snapshot.entries
        heads = columns_of(every)
        rows = {str(entry["trial"]): cells(entry, list(heads)) for entry in self.selection.of(every)}
        before, chosen = self._rows, self.chosen
        wide = widths(heads, rows.values())
        fits = all(self._widths.get(column, 0) >= width for column, width in wide.items())
        if fits and list(heads) == self._columns and list(rows) == list(before):
            for key, line in rows.items():
                for column, cell, old in zip(heads, line, before[key], strict=True):
                    if cell != old:
                        table.update_cell(key, column, Text(cell))
            self._rows = rows
        else:
            self._widths = wide
            self._refill(table, heads, rows, chosen)
        self._redraw()

    def _refill(
        self, table: DataTable[Any], heads: dict[str, str], rows: dict[str, list[str]], chosen: int | None
    ) -> None:
        table.clear(columns=True)
        for column, head in heads.items():
            # a width that Textual has to find costs it the whole column, for each cell that changes
            table.add_column(head, key=column, width=self._widths[column])
        for key, line in rows.items():
            table.add_row(*map(Text, line), key=key)
        self._columns, self._rows = list(heads), rows
        if chosen is not None and str(chosen) in rows:
            table.move_cursor(row=list(rows).index(str(chosen)), animate=False)

    def _redraw(self) -> None:
        """The details and the curve of the trial under the cursor."""
        number = self.chosen
        panel, curve = self.query_one("#details", Static), self.query_one("#curve", Static)
        if self.snapshot is None or number is None:
            panel.update("")
            curve.update("")
            return
        panel.update(details(self.snapshot, number))
        curve.update(self._picture(self.snapshot, number, curve.size.width, curve.size.height))

    def _picture(self, snapshot: Snapshot, number: int, width: int, height: int) -> Text:
        best = () if snapshot.best is None else snapshot.curves.get(snapshot.best, ())
        own = snapshot.curves.get(number, ())
        if self._metric != OBJECTIVE:
            best, own = (), self._metrics.get(self._metric, ())
        picture = draw([best, own], width, max(2, height - 1))
        names = f"{self._metric} of trial {number}" + (" (log)" if picture.log else "")
        text = Text(names, style=COLOURS[1], no_wrap=True)
        if best and snapshot.best != number:
            text.append(f"   best: trial {snapshot.best}", style=COLOURS[0])
        for line, owners in zip(picture.lines, (*picture.owners, ()), strict=True):
            text.append("\n" + line[:GUTTER])
            # without owners: the labels below
            for place, letter in enumerate(line[GUTTER:]):
                owner = owners[place] if owners else -1
                text.append(letter, style=COLOURS[owner] if owner >= 0 else "")
        return text

    def on_data_table_row_highlighted(self) -> None:
        """The cursor has moved."""
        self._redraw()

    def on_resize(self) -> None:
        """Another terminal size: the curve fits it after the next layout."""
        self.call_after_refresh(self._redraw)

    # ------------------------------------------------------------------ keys

    def action_sort(self) -> None:
        """Sort by the next column."""
        if self.snapshot is not None and self.snapshot.entries:
            self._select(self.selection.next_column(self.snapshot.entries))

    def action_reverse(self) -> None:
        """The other way round."""
        self._select(Selection(self.selection.by, not self.selection.downwards, self.selection.conditions))

    def _select(self, selection: Selection) -> None:
        self.selection = selection
        if self.snapshot is not None:
            self._fill()
        self.say()

    def action_filter(self) -> None:
        """Ask which trials to list."""

        def given(text: str | None) -> None:
            if text is None or self.snapshot is None:
                return
            try:
                self._select(self.selection.filtered(text, self.snapshot.entries))
            except ConfigError as error:
                self.say(f"error: {error}")

        question = "Only trials with: state=RUNNING, objective<0.1, running; nothing: all"
        self.push_screen(LinePrompt(question, " ".join(self.selection.conditions)), given)

    def action_details(self) -> None:
        """Show or hide what is known of the trial."""
        panel = self.query_one("#details", Static)
        panel.display = not panel.display

    def on_data_table_row_selected(self) -> None:
        """Enter, which the table takes for itself."""
        self.action_details()

    def action_metric(self) -> None:
        """Draw the next metric."""
        names = [OBJECTIVE, *self._metrics]
        after = names.index(self._metric) + 1 if self._metric in names else 0
        # the first time nobody has read them yet: any name but the objective's has them read
        self._metric = names[after % len(names)] if len(names) > 1 else "train/loss"
        self.look()
        self._redraw()

    def action_best(self) -> None:
        """Go to the best trial."""
        best = None if self.snapshot is None else self.snapshot.best
        if best is not None and str(best) in self._rows:
            self.query_one(DataTable).move_cursor(row=list(self._rows).index(str(best)), animate=False)

    def action_pause(self) -> None:
        """Pause the trial, or let it go on."""
        number = self.chosen
        if number is None or self.snapshot is None:
            return
        paused = self.snapshot.trials[number].state.value == "PAUSED"
        kind, what = ("unpause_trial", "go on") if paused else ("pause_trial", "pause")
        self._ask(lambda: self._sweep.request(kind, [number]), f"asked trial {number} to {what}")

    def action_end_trial(self) -> None:
        """End the trial for good, with a reason."""
        number = self.chosen
        if number is None:
            return

        def given(reason: str | None) -> None:
            if reason is not None:
                self._ask(lambda: self._sweep.request("end_trial", [number], reason), f"asked to end trial {number}")

        self.push_screen(LinePrompt(f"End trial {number} for good? Why (may be empty; Esc: no)"), given)

    def action_stop(self) -> None:
        """Stop the sweep, after a question."""

        def given(yes: bool | None) -> None:
            if yes:
                self._ask(self._stop, "")

        self.push_screen(YesNo(f"Stop the sweep {self._sweep.name}? 'rnnsweep resume' goes on with it."), given)

    def _stop(self) -> str:
        return "asked the sweep to stop" if self._sweep.stop() else "it does not run: nothing to stop"

    @work(thread=True)
    def _ask(self, request: Callable[[], str | None], done: str) -> None:
        """Leave a request in the store, which may be slow."""
        try:
            said = request() or done
        except RnnsweepError as error:
            said = f"error: {error}"
        self.call_from_thread(self.say, said)
        self.call_from_thread(self.look)
