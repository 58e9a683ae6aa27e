"""Questions over the screen: a line of text, or yes and no."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label


class LinePrompt(ModalScreen[str | None]):
    """Asks for a line; Enter gives it, Escape gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave")]
    DEFAULT_CSS = """
    LinePrompt { align: center middle; }
    LinePrompt > Vertical { width: 70; max-width: 95%; height: auto; border: round $primary; padding: 0 1; }
    """

    def __init__(self, question: str, value: str = "", longest: int = 500) -> None:
        super().__init__()
        self._question, self._value, self._longest = question, value, longest

    def compose(self) -> ComposeResult:
        """The question above the line."""
        with Vertical():
            yield Label(self._question, markup=False)
            yield Input(self._value, max_length=self._longest, select_on_focus=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)


class YesNo(ModalScreen[bool]):
    """Asks whether to do something; only y does it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]
    DEFAULT_CSS = """
    YesNo { align: center middle; }
    YesNo > Vertical { width: 70; max-width: 95%; height: auto; border: round $primary; padding: 0 1; }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        with Vertical():
            yield Label(self._question, markup=False)
            yield Label("y: yes   n: no", markup=False)

    def action_answer(self, yes: bool) -> None:
        """A key was pressed."""
        self.dismiss(yes)
