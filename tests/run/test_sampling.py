"""How the roles' settings become the sampling of requests, and reach the models' templates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig, load_decode
from spar.errors import UsageError
from spar.estimate.calls import dry_run_text
from spar.infer.engine import Request, Sampling
from spar.run.engines import Engines
from spar.run.sampling import sampling_of
from spar.types import Message, Prompt

THINKS = (
    "{% for m in messages %}{{ m.role + m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)


def test_a_role_overrides_what_is_set_for_all(tmp_path: Path) -> None:
    """A recipe sets it for one role, the flags for every role that has none of its own."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "decode: {vote: {top_k: 20, reasoning_effort: high, chat_template_args: {a: 2, b: 3}}}"
    )
    flags: dict[str, Any] = {
        "chat_template_args": {"a": 1},
        "reasoning_effort": "low",
        "extra_body": {"x": 1},
        "vote": {"min_p": 0.1},
    }
    config = load_decode(str(recipe), flags)
    draft, vote = sampling_of(config, config.draft), sampling_of(config, config.vote)
    assert (draft.reasoning_effort, draft.chat_template_args) == ("low", {"a": 1})
    assert (vote.reasoning_effort, vote.chat_template_args) == ("high", {"a": 2, "b": 3})
    assert (vote.top_k, vote.min_p, draft.top_k) == (20, 0.1, 0)
    assert (vote.temperature, vote.max_tokens) == (0.7, 2048)
    assert draft.extra_body == vote.extra_body == {"x": 1}


def test_what_is_not_set_is_neither_sampled_with_nor_stored() -> None:
    """Runs of versions without these settings keep their form."""
    config = DecodeConfig()
    assert sampling_of(config, config.draft) == Sampling(0.9, 0.9, 2048)
    new = {"top_k", "min_p", "reasoning_effort", "chat_template_args", "extra_body"}
    stored = config.stored()
    assert not new & (stored.keys() | stored["draft"].keys())


@pytest.mark.model
async def test_arguments_of_a_role_reach_its_template(tiny_model: Path, tmp_path: Path) -> None:
    """Each role of one model with its own, and one that the template does not read is an error at once."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(THINKS)
    values: dict[str, Any] = {
        "engine": "hf",
        "model": str(folder),
        "vote": {
            "temperature": 0.0,
            "max_tokens": 1,
            "chat_template_args": {"enable_thinking": False},
        },
    }
    config = DecodeConfig(**values)
    engines = Engines(config)
    turn = (Message(role="user", content="hi"),)
    settings = (sampling_of(config, config.vote), Sampling(max_tokens=1))
    requests = [Request(turn, sampling) for sampling in settings]
    judged, drafted = await engines.get("judge").generate(requests)
    await engines.aclose()
    assert judged.prompt_tokens > drafted.prompt_tokens
    wrong = DecodeConfig(**values, chat_template_args={"think": True})
    with pytest.raises(UsageError, match=r"--chat-template-arg think: .* reads: enable_thinking"):
        Engines(wrong).get("actor")


@pytest.mark.model
def test_a_dry_run_shows_what_the_model_reads(tiny_model: Path, tmp_path: Path) -> None:
    """The draft's prompt through the model's own template; one that would lose it is an error."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(THINKS)
    settings: dict[str, Any] = {
        "model": str(folder),
        "chat_template_args": {"enable_thinking": False},
    }
    prompt = Prompt(id="a", messages=(Message(role="user", content="hi"),))
    shown = dry_run_text(DecodeConfig(engine="hf", **settings), prompt, 1)
    assert "== draft, as the model reads it ==\nuserhi<think></think>" in shown
    assert "as the model reads it" not in dry_run_text(DecodeConfig(engine="fake"), prompt, 1)
    (folder / "chat_template.jinja").write_text("Hello")
    with pytest.raises(UsageError, match="leaves out the user's turn"):
        dry_run_text(DecodeConfig(engine="hf", **settings), prompt, 1)
