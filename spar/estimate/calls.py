"""Before a run: its first prompts as they will be sent, and the most calls it can make."""

from __future__ import annotations

from pathlib import Path

from spar.chat_template import ChatTemplate
from spar.config import DecodeConfig
from spar.hardware import has_package
from spar.infer.engines.chat import load_tokenizer
from spar.infer.roles import REFINE_ATTEMPTS, judge_messages, refine_messages
from spar.infer.strategy import SearchConfig
from spar.models.folders import cached_model
from spar.plugins import JUDGES, REFINERS, strategy_with
from spar.record.outcomes import pluralize
from spar.run.build import judge_with, open_templates
from spar.run.resolve import loads_models, models, required_roles, urls
from spar.run.total_budget import check_total_budget
from spar.templates import Templates
from spar.types import Judgement, Message, Node, Prompt


def most_responses(config: DecodeConfig) -> int:
    """Most drafts and refinements a tree can spend: the budget, or less where the strategy ends first."""
    shape = SearchConfig(
        branching=config.branching, beam_width=config.beam_width, depth=config.depth
    )
    spec = strategy_with(config.strategy, config.strategy_args)
    return spec.num_responses(shape, config.budget)


def most_calls(config: DecodeConfig, num_prompts: int) -> tuple[int, int]:
    """Calls of the whole run if no tree is solved: with every reply parsed, and with every retry."""
    responses, trees = most_responses(config), num_prompts
    if config.total_budget is not None:  # of the whole run
        check_total_budget(config, num_prompts)
        responses, trees = config.total_budget, 1
    roles, (judge, _) = required_roles(config), judge_with(config)
    votes = judge.num_calls(config) if "judge" in roles else 0
    refined = responses - num_prompts // trees if "refiner" in roles else 0
    spec = strategy_with(config.strategy, config.strategy_args)
    # Refinements by a program cost no call.
    is_program = "refiner" in spec.roles and "refiner" not in roles
    drafts = spec.num_drafts(config.total_budget or config.budget) * (num_prompts // trees)
    written = min(responses, drafts) if is_program else responses
    if "judge" in roles:
        written += judge.shared_calls * (num_prompts // trees)
    once = written + responses * votes
    retried = written + refined * (REFINE_ATTEMPTS - 1) + responses * votes * judge.attempts
    return trees * once, trees * retried


def dry_run_text(config: DecodeConfig, prompt: Prompt, num_prompts: int) -> str:
    """The first prompt's conversations, of the roles that the strategy asks, and the cost of the run."""
    templates = open_templates(config)
    critique = Judgement(verdicts=(False,), critique="(the stored critique)")
    draft = Node(id=0, parent=None, depth=0, response="(the draft)", judgement=critique)
    once, retried = most_calls(config, num_prompts)
    used = strategy_with(config.strategy, config.strategy_args).roles
    parts = [f"== draft ==\n{conversation(prompt.messages)}"]
    if "judge" in used:
        parts.append(f"== judge ==\n{_judging(config, templates, prompt, draft)}")
    if "refiner" in used:
        parts.append(f"== refine ==\n{_refining(config, templates, prompt, draft)}")
    parts += _as_rendered(config, prompt)
    parts.append(
        f"{pluralize(num_prompts, 'prompt')}, at most {_responses(config)}: "
        f"{pluralize(once, 'call')} where every reply parses, {retried:,} at the most"
    )
    if config.early_refine != "off":
        parts[-1] += "; --early-refine auto starts more where the engine has room, and aborts them"
    return "\n\n".join(parts)


def _judging(config: DecodeConfig, templates: Templates, prompt: Prompt, draft: Node) -> str:
    """What the judge is sent about a draft, or why it is sent nothing."""
    judge = JUDGES.spec(config.judge)
    if not judge.uses_model:
        return f"{config.judge} calls no model"
    if not judge.asks_model(prompt):
        return f"{config.judge} calls no model for this prompt: programs check all its constraints"
    if judge.conversations is None:
        asked = judge.conversation or judge_messages
        return conversation(asked(templates, prompt, draft.response))
    sent = judge.conversations(config, templates, prompt, draft.response)
    return "\n\n".join(map(conversation, sent))


def _refining(config: DecodeConfig, templates: Templates, prompt: Prompt, draft: Node) -> str:
    """What the refiner is sent about a draft, and about two of them where the strategy merges."""
    if not REFINERS.spec(config.refiner or "model").uses_model:
        return f"{config.refiner} calls no model"
    sent = [refine_messages(templates, prompt, draft)]
    if strategy_with(config.strategy, config.strategy_args).merges:
        other = draft.model_copy(update={"id": 1, "response": "(another draft)"})
        sent.insert(0, refine_messages(templates, prompt, draft, other))
    return "\n\n".join(map(conversation, sent))


def _responses(config: DecodeConfig) -> str:
    if config.total_budget is None:
        return f"{pluralize(most_responses(config), 'response')} each"
    return f"{pluralize(most_responses(config), 'response')} each in the first round, {config.total_budget:,} in all"


def _as_rendered(config: DecodeConfig, prompt: Prompt) -> list[str]:
    """The draft's conversation as the actor's own chat template renders it, where its folder is at hand.

    Raises
    ------
    UsageError
        The template cannot render it, or reads no variable that is set.
    """
    model = models(config)["actor"]
    if urls(config)["actor"] or not loads_models(config) or not _is_here(model):
        return []
    if not has_package("transformers"):
        return []
    notes: list[str] = []
    template = ChatTemplate(load_tokenizer(model), notes.append)
    arguments = config.template_arguments(config.draft)
    template.check(model, [arguments])
    text = template.text(template.turns(prompt.messages), arguments, prompt=True)
    return ["\n".join(["== draft, as the model reads it ==", text, *notes])]


def _is_here(model: str) -> bool:
    """Whether the model is on this machine outside the hub's cache; its files are not fetched to say what would run."""
    folder = Path(model) if model and Path(model).is_dir() else None
    cached = cached_model(model)
    if cached is not None:
        folder = Path(cached.folder)
    return folder is not None and (folder / "config.json").is_file()


def conversation(messages: tuple[Message, ...]) -> str:
    """Messages as text, each below its role."""
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)
