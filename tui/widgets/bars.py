"""One-line bars: status and search."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Label, Static

from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.scores import MetricHistory, MetricValue
from tui.widgets.input_bar import InputBar


class StatusBar(Static):
    """A status line."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; background: $panel; color: $foreground; text-wrap: nowrap;
                text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._content = Text()

    def set_content(self, text: Text) -> None:
        """Show another text; does nothing if it is unchanged."""
        if text != self._content or text.spans != self._content.spans:
            self._content = text
            self.update(text, layout=False)


class SearchBar(InputBar):
    """An input for a search text; the handler of `Submitted` closes it, or rejects the text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("ctrl+r", "toggle_regex", "Text or regular expression", priority=True),
    ]

    class Changed(Message):
        """A text was typed, which is not submitted yet."""

        def __init__(self, text: str, *, regex: bool) -> None:
            super().__init__()
            self.text, self.regex = text, regex

    class Submitted(Message):
        """A text was submitted; an empty one ends the search."""

        def __init__(self, text: str, *, regex: bool) -> None:
            super().__init__()
            self.text, self.regex = text, regex

    def __init__(self, *, has_regex: bool = True) -> None:
        super().__init__()
        self._regex = False
        self._has_regex = has_regex
        """Whether the text may be a regular expression."""
        self._before = ("", False)
        """The text that was searched for when the bar was opened."""

    def compose(self) -> ComposeResult:
        """A slash, the input, and whether it is a regular expression."""
        yield Label("/")
        yield Input(id="query", select_on_focus=True, compact=True)
        yield Label(self._mode(), id="mode")

    def open(self, text: str, *, regex: bool = False, before: str | None = None) -> None:
        """Open the bar; `before` is what Esc goes back to, the text itself without it."""
        self._regex = regex
        self._before = (text if before is None else before, regex)
        self.query_one("#mode", Label).update(self._mode())
        self.show(text)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Submit the text."""
        event.stop()
        self.post_message(self.Submitted(event.value, regex=self._regex))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass on the text, without the message about it as it was."""
        event.stop()
        self.query_one("#mode", Label).update(self._mode())
        if self.is_open:
            self.post_message(self.Changed(event.value, regex=self._regex))

    def reject(self, reason: str) -> None:
        """Stay open, and show why the text cannot be searched for."""
        self.query_one("#mode", Label).update(Text(one_line(reason, 50), PALETTE["fault"]))

    def action_cancel(self) -> None:
        """Close the bar, and search for what was searched for before."""
        text, regex = self._before
        self.post_message(self.Changed(text, regex=regex))
        self.close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the switch to a regular expression only where the text may be one."""
        if action == "toggle_regex" and not self._has_regex:
            return False
        return super().check_action(action, parameters)

    def action_toggle_regex(self) -> None:
        """Switch between text and regular expression."""
        self._regex = not self._regex
        self.query_one("#mode", Label).update(self._mode())
        self.post_message(self.Changed(self.query_one(Input).value, regex=self._regex))

    def _mode(self) -> Text:
        if not self._has_regex:
            return Text("⏎ keeps it, esc shows all again")
        return Text("regular expression (^r: text)" if self._regex else "text (^r: regex)")


def abbreviate(number: int) -> str:
    """A number below a billion in at most four characters: `9999`, `12k`, `100k`, `3M`."""
    if number < 10_000:
        return str(number)
    return f"{number // 1000}k" if number < 1_000_000 else f"{number // 1_000_000}M"


def seconds_text(seconds: float) -> str:
    """A time in words, to its largest unit: `45 s`, `2 min`, `3 h`, `2 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"


def basis_text(by_truth: int, known: int) -> str:
    """By what it is known whether prompts pass, of which so many are known by ground truth."""
    if not by_truth:
        return "by the judge"
    if by_truth == known:
        return "by ground truth"
    return f"{by_truth:,} by ground truth, the others by the judge"


def metric_text(score: MetricValue) -> str:
    """A value with its error: a share in per cent, anything else in its unit."""
    if score.is_share:
        error = "" if score.stderr is None else f" ± {100 * score.stderr:.1f}"
        return f"{100 * score.value:.1f}{error} %"
    error = "" if score.stderr is None else f" ± {score.stderr:.2f}"
    return f"{score.value:.2f}{error} {score.unit}".rstrip()


def history_text(metric: MetricHistory) -> str:
    """The first and the last value with its error: `60.0 → 56.7 ± 9.2 %`."""
    first, last = metric.first, metric.last
    if last is None:
        return "-"
    before = ""
    if first is not None and first is not last:
        digits, scale = (1, 100) if last.is_share else (2, 1)
        before = f"{scale * first.value:.{digits}f} → "
    return f"{before}{metric_text(last)}"


def clock(seconds: float) -> str:
    """A time as minutes and seconds, or hours, minutes and seconds: `1:05`, `2:00:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
