"""The keys of the application and of the screens for runs, trees and one tree. Each has a name, by which a key map can change it (`tui.keymap`)."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from tui.widgets.parts_pane import KEYS as PARTS

_OPEN_A_LINE = frozenset({"search", "note"})
"""Keys that open a line to type in."""


def key(
    name: str, keys: str, action: str, what: str, footer: str = "", *, display: str | None = None
) -> Binding:
    """A key, or several.

    Parameters
    ----------
    name:
        In a key map; empty for a number, which stands for what it is drawn beside.
    what:
        What it does, for `?` and the command palette.
    footer:
        The same in a word, for the footer; empty for a key that is not shown there.
    display:
        How the footer shows the key.
    """
    return Binding(
        keys,
        action,
        footer or what,
        show=bool(footer),
        key_display=display,
        tooltip=what if footer and footer != what else "",
        # What is typed right after the key must reach the line that it opens, however fast it comes.
        priority=name in _OPEN_A_LINE,
        id=name or None,
    )


_OPEN_EXPORT = key("open-export", "O", "open_export", "Open what was exported last")
MARK_KEYS: list[BindingType] = [
    key("star", "asterisk", "star", "Star the tree, or take the star away"),
    key("note", "w", "note", "Write a note on the tree"),
]

APP_KEYS: list[BindingType] = [
    key("help", "question_mark", "help", "Keys", "Keys", display="?"),
    key("leave", "q", "leave", "Leave the screen"),
    key("", "slash", "no_search", "Where the search is"),
    key("theme", "T", "toggle_theme", "Dark or light"),
    key("commands", "colon", "commands", "Commands", display=":"),
]

RUNS_KEYS: list[BindingType] = [
    key("open", "o", "open", "Open", "Open", display="⏎"),
    key("unfold", "l,right", "unfold", "Show its stages, or open it", "Stages", display="→"),
    key("fold", "h,left", "fold", "Fold its stages"),
    key("search", "slash", "search", "Show the runs with a text", "Filter", display="/"),
    key("mark", "space", "mark", "Mark for a comparison", "Mark"),
    key("compare", "C", "compare", "Compare the marked runs", "Compare"),
    key("scroll-down", "J", "scroll(1)", "Scroll the details down"),
    key("scroll-up", "K", "scroll(-1)", "Scroll the details up"),
    key("training", "t", "training", "Scores and training data of a training run"),
    key("play", "P", "play", "Search for a response to your own instruction", "Play"),
    key("sort", "s", "sort", "Sort by the next column"),
    key("reverse", "S", "reverse", "Sort the other way"),
    key("demo", "D", "demo", "Run the demo"),
    key("back", "escape", "clear", "Show all runs"),
]

TREES_KEYS: list[BindingType] = [
    key("open", "l,right", "open", "Open", "Open", display="⏎"),
    key(
        "search",
        "slash",
        "search",
        "Search for a text, note:word or is:starred",
        "Search",
        display="/",
    ),
    key("next-kind", "f", "next_kind", "Show the next category"),
    key("", "1", "kind(1)", "Show all"),
    key("", "2", "kind(2)", "Show solved, without a judge passed"),
    key("", "3", "kind(3)", "Show unsolved, without a judge failed"),
    key("", "4", "kind(4)", "Show what the search fixed"),
    key("", "5", "kind(5)", "Show what the search broke"),
    key("", "6", "kind(6)", "Show where the judge is wrong by ground truth"),
    key("", "7", "kind(7)", "Show those with faults"),
    key("", "8", "kind(8)", "Show those that were not judged"),
    key("", "9", "kind(9)", "Show lines that are no tree"),
    key("", "0", "kind(0)", "Show the starred ones"),
    key(
        "constraint", "c", "constraint", "Show those that fail a type of constraints", "Constraint"
    ),
    key("dashboard", "v", "dashboard", "Fold or unfold the dashboard"),
    key("sort", "s", "sort", "Sort by the next column"),
    key("reverse", "S", "reverse", "Sort the other way"),
    key("next", "n", "failure(1)", "Next failure; while searching, next match", "Failure"),
    key("previous", "N", "failure(-1)", "Previous failure or match"),
    *MARK_KEYS,
    key("export-run", "x", "export_run", "Export the run as a page"),
    _OPEN_EXPORT,
    key("reload", "R", "reload", "Read the run again"),
    key("back", "escape,h,left", "back", "Back", "Back", display="esc"),
]

TREE_KEYS: list[BindingType] = [
    key("previous-tree", "left_square_bracket", "tree(-1)", "Previous tree", "Prev", display="["),
    key("next-tree", "right_square_bracket", "tree(1)", "Next tree", "Next", display="]"),
    key("search", "slash", "search", "Search in the tree", "Search", display="/"),
    key("next", "n", "next(1)", "Next failure; while searching, next match"),
    key("previous", "N", "next(-1)", "Previous failure or match"),
    key("diff", "d", "diff", "What changed, or the whole response", "Diff"),
    key("prompt", "p", "fold(8)", "The prompt that produced the response"),
    key("zoom", "z", "zoom", "The node on the whole screen, and back", "Zoom"),
    key("answer", "a", "answer", "To the answer"),
    key("instruction", "i", "instruction", "Whole instruction"),
    *(
        key("", str(part), f"fold({part})", f"Fold or open part {part} of the node")
        for part in sorted({*PARTS.values()})
    ),
    key("", "0", "fold_all", "Open every part, and back"),
    key("other-pane", "tab", "other_pane", "The other pane"),
    key("node-pane", "l,right", "node_pane", "To the node"),
    key("parent", "h,left", "outwards", "To the tree, and up to the parent"),
    key("scroll-down", "J", "scroll(1)", "Scroll the node down"),
    key("scroll-up", "K", "scroll(-1)", "Scroll the node up"),
    key("copy", "y", "copy('response')", "Copy the response", "Copy"),
    key("copy-prompt", "Y", "copy('prompt')", "Copy the prompt"),
    key("copy-json", "c", "copy('json')", "Copy the node as JSON"),
    key("pager", "o", "pager", "Open in $PAGER"),
    key("editor", "e", "editor", "Open in $EDITOR"),
    key("export", "x", "export", "Export"),
    _OPEN_EXPORT,
    *MARK_KEYS,
    key("close", "escape", "back", "Back", "Back", display="esc"),
]
