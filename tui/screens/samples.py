"""Instructions to try, in a list; the result is the one that was picked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList, Static

from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.play import Sample
from tui.screens.base import PickingScreen


class SamplesScreen(PickingScreen[Sample]):
    """A list of samples.

    Parameters
    ----------
    title:
        What they are.
    """

    DEFAULT_CSS = """
    SamplesScreen { align: center middle; }
    #samples-box {
        width: 110; max-width: 95%; height: auto; max-height: 80%; border: round $primary;
        background: $background;
    }
    #samples-box OptionList { border: none; padding: 0; }
    """

    def __init__(self, title: str, samples: Sequence[Sample]) -> None:
        super().__init__()
        self._title, self._samples = title, samples

    def compose(self) -> ComposeResult:
        """The list."""
        width = max((len(sample.kind) for sample in self._samples), default=0)
        with Vertical(id="samples-box"):
            title = Text(self._title, style=PALETTE["head"])
            title.append("   ⏎ takes one, esc none", style=PALETTE["note"])
            yield Static(title, classes="title")
            yield OptionList(
                *(
                    Text(f"{one_line(sample.kind):<{width}}  ", PALETTE["note"]).append(
                        one_line(sample.text), "not dim not italic"
                    )
                    for sample in self._samples
                )
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the sample."""
        self.dismiss(self._samples[event.option_index])
