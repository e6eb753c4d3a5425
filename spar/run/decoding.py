"""Decode: a tree for every prompt, in a run directory. What `spar.decode` and `spar decode` share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.conversations import not_blank
from spar.embedded import embedded_note, is_embedded
from spar.errors import SparError, UsageError
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.plugins import JUDGES, STRATEGIES, safe_name, strategy_with
from spar.prompts import (
    check_json,
    prompt_from_row,
    prompt_from_text,
    read_prompts,
    with_id,
    with_ids,
)
from spar.record.layout import BUILT_IN_PROMPTS
from spar.rows.lines import GZIP_SUFFIX
from spar.rows.read import SUFFIXES, exists, is_repeatable
from spar.rows.row import cut
from spar.run.blocking import in_thread
from spar.run.build import make_manifest
from spar.run.prompt_checks import refuse_prompts
from spar.run.resolve import loaded_models, resolve_config
from spar.run.resume import PromptSource, is_complete, load_summary, refuse_other_prompts
from spar.run.session import Run
from spar.run.total_budget import check_total_budget
from spar.store import MANIFEST, TREES, RunStore, stored_trees, tree_at, tree_offsets
from spar.types import Prompt, SearchTree

IN_MEMORY = "python"
"""What a run's settings have in place of a file, where the prompts were passed as objects."""


PromptLike = Prompt | str | Mapping[str, Any]
"""A `Prompt`, a text, or a row of a prompts file: `{"prompt": ...}` or `{"messages": [...]}`."""


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """The trees of a run, in the order of its prompts."""

    directory: Path | None
    """The run directory, None where nothing was stored."""
    summary: Summary
    """Totals over all starts: `usage` (calls, tokens), `roles`, `stops`, `passed_after`, `seconds`, ...; `as_dict()` is `summary.json`."""
    _ids: tuple[str, ...]
    _trees: Mapping[str, SearchTree] = field(default_factory=dict)

    def __iter__(self) -> Iterator[SearchTree]:
        """Iterate over the trees; those of a run directory are read from the disk, one at a time."""
        if self.directory is None:
            yield from (self._trees[prompt_id] for prompt_id in self._ids)
            return
        path = self.directory / TREES
        offsets = tree_offsets(path)
        with path.open("rb") as handle:
            for prompt_id in self._ids:
                yield tree_at(handle, offsets[prompt_id])

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def answers(self) -> list[str | None]:
        """The answer to each prompt, None where every attempt failed."""
        return [tree.answer for tree in self]


@dataclass(frozen=True, slots=True)
class DecodedRun:
    """A run directory with a tree for every prompt."""

    directory: Path
    summary: Summary
    config: DecodeConfig
    """The resolved settings."""
    source: PromptSource
    """The prompts, under the ids that the run has for them."""


async def run_decode(
    config: DecodeConfig,
    source: PromptSource,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    listener: Listener = Listener(),
    interactive: bool = False,
) -> DecodedRun:
    """Search every prompt that has no tree in the run directory yet.

    Parameters
    ----------
    out:
        The run directory; None for `runs/STRATEGY-BUDGET-DIGEST`.
    overwrite:
        Delete an earlier run in the directory first.
    interactive:
        Whether this is a single prompt that a user waits for, so that latency counts.

    Raises
    ------
    UsageError
        A combination of settings that is not possible, or a model or server that cannot be used.
    RunStopped
        A request could not be served, or the disk is full; the same call resumes.
    """
    try:
        config = await in_thread(
            partial(resolve_config, config, listener.note, interactive=interactive)
        )
    except SparError as error:  # a complete run needs neither model nor server
        if out is None or overwrite or not is_complete(out, config, source):
            raise
        return _complete_run(out, config, source, error, listener)
    for line in (*assumed(config, source.count), *ignored_settings(config)):
        listener.note(line)
    manifest = make_manifest(config)
    directory = out or default_directory(config, manifest)
    # A refusal leaves no directory behind, and deletes none.
    if overwrite or not (directory / MANIFEST).is_file():
        strategy_with(config.strategy, config.strategy_args)
        check_total_budget(config, source.count)
        await in_thread(lambda: refuse_prompts(config, source.read))
    try:
        opened = RunStore.open(directory, manifest, fresh=overwrite)
    except UsageError as error:  # nor must it be possible to write into its directory
        is_unwritable = isinstance(error.__cause__, OSError)
        if not is_unwritable or overwrite or not is_complete(directory, config, source):
            raise
        return _complete_run(directory, config, source, error, listener)
    with opened as store:
        refuse_other_prompts(store, config, source.resumed(store.trees))
        run = Run(config, source, store, listener)
        summary = await run.execute()
    return DecodedRun(directory, summary, config, run.source)


def _complete_run(
    directory: Path,
    config: DecodeConfig,
    source: PromptSource,
    error: SparError,
    listener: Listener,
) -> DecodedRun:
    """A run that has every tree, where something that only searching needs is missing."""
    listener.note(f"{error}; the run is complete: all {source.count} trees are stored")
    source = source.resumed(stored_trees(directory / TREES))
    ids = {prompt.id for prompt in source.read()}
    return DecodedRun(directory, load_summary(directory, ids), config, source)


def default_directory(config: DecodeConfig, manifest: Manifest) -> Path:
    """`runs/STRATEGY-BUDGET-DIGEST`: the same settings find their run again."""
    return Path("runs") / f"{safe_name(config.strategy)}-{config.budget}-{manifest.digest[:8]}"


def prompt_source(config: DecodeConfig) -> PromptSource:
    """The prompts that `config.prompts` names, read once through so that a wrong row is an error now.

    Raises
    ------
    UsageError
        No such file, a wrong row, or no prompt at all.
    """
    _refuse_text(config.prompts)
    if not config.prompts:
        refuse_prompt_field(config)
        from spar.nano.tasks import prompts as nano_prompts

        count = config.limit or BUILT_IN_PROMPTS
        return PromptSource(lambda: nano_prompts("test", limit=count), count)
    if not is_repeatable(config.prompts):
        return source_of(file_prompts(config))
    count = sum(1 for _ in file_prompts(config))
    return PromptSource(lambda: file_prompts(config), count)


def _refuse_text(text: str) -> None:
    """Raise `UsageError` for a prompt in place of a file's name: words that name no file."""
    names_rows = text.lower().endswith((*SUFFIXES, GZIP_SUFFIX))
    if len(text.split()) > 1 and not names_rows and not exists(Path(text)):
        raise UsageError(
            f"there is no file {cut(text)!r}; a single prompt is passed as --prompt TEXT, in Python to spar.search"
        )


def file_prompts(config: DecodeConfig) -> Iterator[Prompt]:
    """The prompts of the file or data set that `config` names."""
    return read_prompts(config.prompts, config.limit, prompt_field=config.prompt_field)


def refuse_prompt_field(config: DecodeConfig) -> None:
    """Raise `UsageError` if the settings name a field of rows, of a run whose prompts come from none."""
    if config.prompt_field:
        raise UsageError(
            f"--prompt-field {config.prompt_field} is for prompts of a file or a data set; pass one, or leave it out"
        )


def without_file(config: DecodeConfig, name: str, given: Mapping[str, Any]) -> DecodeConfig:
    """The settings of a run whose prompts come from no file, under `name`; a file of the recipe, and the field of its rows, are left out.

    Raises
    ------
    UsageError
        A field is among the settings that were `given` by hand.
    """
    if not config.prompts or given.get("prompt_field"):
        refuse_prompt_field(config)
    return config.model_copy(update={"prompts": name, "prompt_field": ""})


def assumed(config: DecodeConfig, num_prompts: int) -> Iterator[str]:
    """A line for what the caller has not named: the prompts, or the model that is to answer prompts of their own."""
    if not config.prompts:
        yield f"prompts: {num_prompts:,} of nano-if's test split, since none were passed"
    elif any(map(is_embedded, loaded_models(config))):
        yield embedded_note()


def ignored_temperature(config: DecodeConfig, chosen: Mapping[str, Any]) -> list[str]:
    """A line for a temperature that was chosen for drafts, where the only one of a tree is greedy.

    Parameters
    ----------
    chosen:
        The settings that were given by hand, as `load_decode` takes them.
    """
    temperature = (chosen.get("draft") or {}).get("temperature")
    num_drafts = STRATEGIES.spec(config.strategy).num_drafts(config.budget)
    if not (temperature and num_drafts == 1 and config.greedy_first):
        return []
    return [
        "the first draft of a tree is greedy, and there is no other: "
        f"--temperature {temperature:g} has no effect; --no-greedy-first samples it"
    ]


def ignored_settings(config: DecodeConfig) -> list[str]:
    """A line for each that was chosen in vain: judge and refiner for a strategy that asks none, a rule for a judge without votes on a verdict."""
    roles = STRATEGIES.spec(config.strategy).roles
    verbs = {"judge": "judges", "refiner": "refines"}
    lines = [
        f"{config.strategy} {verb} no response: --{role} {value} has no effect"
        for role, verb in verbs.items()
        if role not in roles
        and (value := getattr(config, role)) != DecodeConfig.model_fields[role].default
    ]
    if (
        config.vote_rule != "full"
        and "judge" in roles
        and not JUDGES.spec(config.judge).takes_vote_rule
    ):
        lines.append(
            f"{config.judge} has no votes to save: --vote-rule {config.vote_rule} has no effect"
        )
    return lines


def source_of(prompts: Iterable[Prompt]) -> PromptSource:
    """Prompts in memory as a source."""
    stored = list(prompts)
    return PromptSource(lambda: iter(stored), len(stored))


def as_prompts(values: Iterable[PromptLike], prompt_field: str = "") -> Iterator[Prompt]:
    """Prompts of texts, of rows as in a prompts file, and of `Prompt` objects; ids must be unique.

    Those without an id get one from their content.

    Parameters
    ----------
    prompt_field:
        The field of the rows that holds the prompt; "" for those of a prompts file.

    Raises
    ------
    UsageError
        A value that is no prompt, an id that comes twice, or a text where a field of rows is named.
    """
    places = ((number, f"prompt {number}", value) for number, value in enumerate(values, start=1))
    return with_ids(
        (where, f"in {where}", _prompt(value, number, prompt_field))
        for number, where, value in places
    )


def as_prompt(value: PromptLike) -> Prompt:
    """The prompt of a text, of a row of a prompts file, or a `Prompt` itself.

    Raises
    ------
    UsageError
        It is none of these, or is blank.
    """
    return with_id(_prompt(value, 1))


def _prompt(value: PromptLike, number: int, prompt_field: str = "") -> Prompt:
    """The prompt of a value, with the id "" where a row has none."""
    where = f"prompt {number}"
    if prompt_field and not isinstance(value, Mapping):
        raise UsageError(
            f"{where} is no row, and prompt_field={prompt_field!r} names a field of rows; pass rows, or leave it out"
        )
    if isinstance(value, str):
        return prompt_from_text(value, IN_MEMORY).model_copy(update={"id": ""})
    if isinstance(value, Mapping):
        return prompt_from_row(value, where, IN_MEMORY, prompt_field)
    if not isinstance(value, Prompt):
        raise UsageError(
            f"{where} is a {type(value).__name__}; expected a text, a row such as "
            '{"prompt": ...} or {"messages": [...]}, or a spar.Prompt'
        )
    not_blank(value.messages, where)
    # As a resumed run reads it from the disk, where every key is a text: that has the same digest.
    return value.model_copy(update={"meta": check_json(value.meta, where)})
