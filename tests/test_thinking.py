"""Thinking is removed at the start of a reply only, whatever marks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.thinking import Answer, closing_tag, opens_thinking, read_answer, without_thinking

ANALYSIS = "<|channel|>analysis<|message|>hm final<|end|>"
FENCE = "```"
TAGS = {
    "<think>": "</think>",
    "<Thought>": "</Thought>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<mm:think>": "</mm:think>",
    "<think:6124c78e>": "</think:6124c78e>",
    "<ifm|think_fast>": "</ifm|think_fast>",
    "<longcat_think>": "</longcat_think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>thought": "<channel|>",
    "Here is my thought process:": "Here is my response:",
}


@pytest.mark.parametrize("opening", TAGS)
@pytest.mark.parametrize("space", ["", "\n", "\n\n"])
def test_the_tags_of_model_families(opening: str, space: str) -> None:
    """The block is removed with the white space around it; without its end there is no answer."""
    thinking = f"{space}{opening}{space}a <b> 1. Yes{space}"
    assert read_answer(f"{thinking}{TAGS[opening]}{space}yes ") == Answer("yes ", thought=True)
    assert read_answer(thinking) == Answer("", thought=True, unfinished=True)


@pytest.mark.parametrize(
    ("text", "opened", "answer"),
    [
        ("hm\n</think>\n\nyes", True, "yes"),
        ("hm\n</think>\n\nyes", False, "yes"),
        ("never ends", True, ""),
        ("<think></think>", False, ""),
        ("<think>a</think>b</think>c", False, "b</think>c"),
        ("<think>a</think>\n<think>b</think>c", False, "c"),
        ("a</think><think>b</think>c", True, "c"),
        ("hm.</think>\n\nyes", False, "yes"),
        ("hm\n[/THINK]yes", False, "yes"),
        (f"{ANALYSIS}<|start|>assistant<|channel|>final<|message|>yes<|return|>", False, "yes"),
        ("<|channel|>final <|constrain|>json<|message|>yes", False, "yes"),
        (ANALYSIS, False, ""),
        ("<|channel|>analysis<|message|>hm", False, ""),
        ("<|channel|>analysis", False, ""),
        ("analysisWe need a word.assistantfinalyes", False, "yes"),
        ("analysisThe user asks", False, ""),
    ],
)
def test_blocks_that_the_template_opened_and_channels(text: str, opened: bool, answer: str) -> None:
    """A reply may start inside a block; in the harmony format only the channel `final` counts."""
    assert without_thinking(text, opened) == answer


@pytest.mark.parametrize(
    "text",
    [
        "plain ",
        "\n  indented",
        "write <think> tags like </think> this",
        "Write `</think>` last.",
        "It ends with </think>",
        "`<think>` opens a block.\n`</think>` closes it.",
        f"{FENCE}xml\n<think>\nhm\n</think>\n{FENCE}\nis the form.",
        f"Stop at:\n{FENCE}\n</think>\n{FENCE}\n",
        "The model writes <think>.\n</think>\n\nfollows.",
        "Two tags:\n<thinking>\nhm\n</thinking>\n",
        "analysis of the text: good",
        "analysis\n\nWe see.",
        "<b>bold</b> <thinker>x</thinker>",
    ],
)
def test_answers_that_mention_tags_stay_whole(text: str) -> None:
    """In a sentence, in a code block, or further down."""
    assert read_answer(text) == Answer(text)


def test_a_tag_that_the_prompt_asks_for_is_part_of_the_answer() -> None:
    """An everyday word in tags may be the task's own format; a thinking model's `<think>` is not."""
    reply = "<reasoning>2 and 2</reasoning><answer>4</answer>"
    assert read_answer(reply, prompt="Use <reasoning> and <answer> tags.").text == reply
    assert read_answer(reply).text == "<answer>4</answer>"
    assert read_answer("<think>a</think>b", prompt="What is <think>?").text == "b"


@given(st.text(max_size=40), st.sampled_from(sorted(TAGS)), st.text(max_size=40))
def test_text_before_the_tag_protects_it(before: str, opening: str, thought: str) -> None:
    """A block that something precedes on its line is never taken out."""
    text = f"So: {before}{opening}{thought}{TAGS[opening]} x"
    assert before.count("\n") or "</" in before or read_answer(text).text == text


@pytest.mark.parametrize(
    ("prompt", "opens"),
    [
        ("<|assistant|><think>\n", True),
        ("<|assistant|>[THINK]", True),
        ("<|assistant|><think>\n\n</think>\n\n", False),
        ("what is <think>?<|assistant|>", False),
    ],
)
def test_prompts_that_end_inside_a_block(prompt: str, opens: bool) -> None:
    """An empty block is closed again."""
    assert opens_thinking(prompt) is opens
    assert bool(closing_tag(prompt)) is opens
    assert not opens_thinking(prompt + closing_tag(prompt))
