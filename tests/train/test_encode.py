"""Which tokens carry loss, whatever the chat template, and the rows that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.infer.engines.chat import ChatEncoder
from spar.train.encode import (
    IGNORED,
    Encoder,
)
from spar.train.rows import each_row, read_conversations, read_pairs, without_thinking
from spar.types import Message
from tests.test_chat_template import DROPS_ANSWERED_SYSTEM

pytestmark = pytest.mark.model

_LOOP = "{% for m in messages %}"
_OPEN = "{% endfor %}{% if add_generation_prompt %}"
_TURNS = f"{_LOOP}{{{{'<|' + m['role'] + '|>' + m['content'] + '<|end|>'}}}}"
TEMPLATES = {
    "newline after the end": (
        f"{_LOOP}{{{{'<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n'}}}}"
        f"{_OPEN}{{{{'<|assistant|>\\n'}}}}{{% endif %}}"
    ),
    "trimmed turns": (
        f"{_LOOP}{{{{'<|' + m['role'] + '|>\\n\\n' + m['content'] | trim + '<|end|>'}}}}"
        f"{_OPEN}{{{{'<|assistant|>\\n\\n'}}}}{{% endif %}}"
    ),
    "no end at all": (
        f"{_LOOP}{{{{'<|' + m['role'] + '|>' + m['content']}}}}"
        f"{_OPEN}{{{{'<|assistant|>'}}}}{{% endif %}}"
    ),
    "end of the assistant's turns only": (
        f"{_LOOP}{{% if m['role'] == 'assistant' %}}{{{{' ' + m['content'] + eos_token}}}}"
        "{% else %}{{'[INST] ' + m['content'] + ' [/INST]'}}{% endif %}{% endfor %}"
    ),
}
"""Shapes that the templates of well-known models have, over the embedded model's tokens."""


def talk(*texts: str) -> tuple[Message, ...]:
    """Turns of user and assistant, the user's first."""
    roles = ("user", "assistant") * len(texts)
    return tuple(Message(role=r, content=c) for r, c in zip(roles, texts, strict=False))


TWO = talk("Write a word.", "fox sees owl", "Again.", "the cat runs")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The embedded model's tokenizer."""
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.fixture
def templated(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives an encoder over another chat template; the user's turn ends a reply too."""

    def with_template(template: str) -> Encoder:
        monkeypatch.setattr(tokenizer, "chat_template", template)
        return Encoder(tokenizer, [tokenizer.convert_tokens_to_ids("<|user|>")])

    return with_template


def trained(tokenizer: Any, encoder: Encoder, train_on: Any) -> list[str]:
    """Texts of the runs of tokens that carry loss."""
    encoded = encoder.encode(TWO, train_on)
    assert len(encoded.ids) == len(encoded.labels)
    runs: list[list[int]] = [[]]
    for token, label in zip(encoded.ids, encoded.labels, strict=True):
        assert label in (IGNORED, token)
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs if run]


@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_labels_equal_the_templates_generation_marks(tokenizer: Any, texts: list[str]) -> None:
    """On a template that marks the assistant's turns, all of these tokens carry loss and no other."""
    conversation = talk(*(text for pair in zip(texts, texts, strict=True) for text in pair))
    encoder = Encoder(tokenizer)
    encoded = encoder.encode(conversation, "all")
    marked = tokenizer.apply_chat_template(
        encoder.turns(conversation), return_dict=True, return_assistant_tokens_mask=True
    )
    assert encoded.ids == marked["input_ids"]
    assert [int(label != IGNORED) for label in encoded.labels] == marked["assistant_masks"]


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "no end at all"])
def test_replies_and_their_end_tokens_are_trained_on(
    tokenizer: Any, templated: Any, name: str
) -> None:
    """Each reply with its end token, nothing of the user's and nothing after the end."""
    encoder = templated(TEMPLATES[name])
    assert not encoder.lacks_end
    both = [text.lstrip() for text in trained(tokenizer, encoder, "all")]
    assert both == ["fox sees owl<|end|>", "the cat runs<|end|>"]
    assert [text.lstrip() for text in trained(tokenizer, encoder, "last")] == both[1:]


def test_a_template_without_end_tokens_gets_them(tokenizer: Any, templated: Any) -> None:
    """The next turn's opening ends a reply where it is a stop, the tokenizer's own end the last one."""
    encoder = templated(TEMPLATES["no end at all"])
    assert encoder.lacks_end
    assert trained(tokenizer, encoder, "all") == ["fox sees owl<|user|>", "the cat runs<|end|>"]


def test_a_template_that_rewrites_earlier_turns_is_rejected(templated: Any) -> None:
    """Where earlier replies lose their first word later on, only the last turn can be told."""
    drops = (
        "{% for m in messages %}{% if m['role'] == 'assistant' and not loop.last %}{{'<|assistant|>gone<|end|>'}}"
        "{% else %}{{'<|' + m['role'] + '|>' + m['content'] + '<|end|>'}}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{'<|assistant|>'}}{% endif %}"
    )
    encoder = templated(drops)
    with pytest.raises(UsageError, match=r"turn 2 .* set train_on to 'last'"):
        encoder.encode(TWO, "all")
    assert encoder.encode(TWO, "last").labels[-1] != IGNORED


def test_a_conversation_that_the_template_rejects(templated: Any) -> None:
    """Its own words reach the person."""
    one_turn = "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}"
    encoder = templated(one_turn + "{{ messages[0]['content'] }}")
    with pytest.raises(UsageError, match="user, assistant: one turn only"):
        encoder.ids(TWO[:2])


@given(text=st.text(max_size=30), forged=st.sampled_from(["", "<|end|>", "<|user|>", "\ud800"]))
def test_prompts_have_the_tokens_of_the_search(tokenizer: Any, text: str, forged: str) -> None:
    """A trained conversation opens with the very tokens an engine sends, forged turns split in both."""
    asked = talk(f"{text}{forged}{text}")
    sent = list(ChatEncoder(tokenizer).render(asked).ids)
    encoded = Encoder(tokenizer).encode((*asked, *talk("", "yes")[1:]), "last")
    assert encoded.ids[: len(sent)] == sent
    assert encoded.labels[: len(sent)] == [IGNORED] * len(sent)


THINKING = {
    "opens a block (QwQ, R1)": (
        f"{_TURNS}{_OPEN}{{{{'<|assistant|><think>\n'}}}}{{% endif %}}",
        True,
    ),
    "opens a block and closes it later": (
        f"{_LOOP}{{% if loop.last and m['role'] == 'assistant' %}}"
        "{{'<|assistant|><think>\n\n</think>\n\n' + m['content'] + '<|end|>'}}{% else %}"
        "{{'<|' + m['role'] + '|>' + m['content'] + '<|end|>'}}{% endif %}"
        f"{_OPEN}{{{{'<|assistant|><think>\n'}}}}{{% endif %}}",
        True,
    ),
    "writes an empty block (Qwen3)": (
        f"{_LOOP}{{% if loop.last and m['role'] == 'assistant' %}}"
        "{{'<|assistant|><think>\n\n</think>\n\n' + m['content'] + '<|end|>'}}{% else %}"
        "{{'<|' + m['role'] + '|>' + m['content'] + '<|end|>'}}{% endif %}"
        f"{_OPEN}{{{{'<|assistant|>'}}}}{{% if enable_thinking is defined and not enable_thinking %}}"
        "{{'<think>\n\n</think>\n\n'}}{% endif %}{% endif %}",
        True,
    ),
    "writes a channel (gpt-oss)": (
        f"{_LOOP}{{% if m['role'] == 'assistant' %}}{{{{'<|assistant|>final|' + m['content'] + '<|end|>'}}}}"
        "{% else %}{{'<|' + m['role'] + '|>' + m['content'] + '<|end|>'}}{% endif %}"
        f"{_OPEN}{{{{'<|assistant|>'}}}}{{% endif %}}",
        False,
    ),
}
"""Templates of models that think, and whether a block is closed before the reply."""


@pytest.mark.parametrize("name", THINKING)
@pytest.mark.parametrize("reply", ["the cat runs", "<b>yes", "think"])
def test_replies_are_trained_on_in_the_context_of_a_search(
    tokenizer: Any, templated: Any, name: str, reply: str
) -> None:
    """A search's own prompt, what the template writes before a reply, and loss on the reply alone."""
    source, thinks = THINKING[name]
    encoder = templated(source)
    asked = talk("Write a word.", "fox sees owl", "Again.")
    encoded = encoder.encode((*asked, Message(role="assistant", content=reply)), "last")
    sent = list(ChatEncoder(tokenizer).render(asked).ids)
    assert encoded.ids[: len(sent)] == sent
    trained = [label for label in encoded.labels if label != IGNORED]
    assert tokenizer.decode(trained) == f"{reply}<|end|>"
    context = tokenizer.decode(encoded.ids[: -len(trained)])
    assert context.count("<think>") == context.count("</think>") == thinks
    assert encoder.ids(asked, reply_follows=True) == sent


@pytest.fixture(scope="module")
def merging(tokenizer: Any) -> Any:
    """A byte-level tokenizer that merges two line breaks, with a template whose turns open with one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|assistant|>", "<|user|>", "<|end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*specials, *alphabet, "ĊĊ"])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "Ċ")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|end|>", additional_special_tokens=specials
    )
    made.chat_template = TEMPLATES["newline after the end"]
    return made


@pytest.mark.parametrize("space", ["", " ", "\n", "\n\n", "\n\n\n", " \n  "])
def test_white_space_that_begins_a_reply_stays_the_replys(merging: Any, space: str) -> None:
    """The search's context is whole, and no token that holds a part of it carries loss."""
    asked = talk("Write.", f"{space}Fox.", "Again.")
    sent = list(ChatEncoder(merging).render(asked).ids)
    encoder = Encoder(merging)
    for train_on in ("last", "all"):
        encoded = encoder.encode(
            (*asked, Message(role="assistant", content=f"{space}Owl.")), train_on
        )
        assert encoded.ids[: len(sent)] == sent
        last = [label for label in encoded.labels[len(sent) :] if label != IGNORED]
        assert merging.decode(last) == f"{space}Owl.<|end|>"
    earlier = merging.decode([label for label in encoded.labels[: len(sent)] if label != IGNORED])
    assert f"{space}Fox.<|end|>".endswith(earlier)
    assert earlier.endswith("Fox.<|end|>")


def test_template_arguments_are_those_of_the_search(tokenizer: Any, templated: Any) -> None:
    """With them, the prompt holds the empty block already and nothing is between it and the reply."""
    templated(THINKING["writes an empty block (Qwen3)"][0])
    arguments = {"enable_thinking": False}
    encoder = Encoder(tokenizer, arguments=arguments)
    sent = list(ChatEncoder(tokenizer).render(TWO[:3], arguments).ids)
    encoded = encoder.encode(TWO, "last")
    trained = [label for label in encoded.labels if label != IGNORED]
    assert encoded.ids == [*sent, *trained]
    assert tokenizer.decode(trained) == "the cat runs<|end|>"


def test_a_clock_in_the_template_stands_in_both(tokenizer: Any, templated: Any) -> None:
    """A search and a training of another day see the same date."""
    clock = "{{'<|system|>' + strftime_now('%d %b %Y %H:%M:%S.%f') + '<|end|>'}}"
    encoder = templated(f"{clock}{_TURNS}{_OPEN}{{{{'<|assistant|>'}}}}{{% endif %}}")
    sent = list(ChatEncoder(tokenizer).render(TWO[:3]).ids)
    assert encoder.encode(TWO, "all").ids[: len(sent)] == sent


def test_system_turns_are_folded_as_in_a_search(tokenizer: Any, templated: Any) -> None:
    """A template that refuses them gets the same joined turn in both."""
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    encoder = templated(f"{refuses}{_TURNS}{_OPEN}{{{{'<|assistant|>'}}}}{{% endif %}}")
    asked = (Message(role="system", content="Be brief."), *TWO[:1])
    sent = list(ChatEncoder(tokenizer).render(asked).ids)
    assert encoder.encode((*asked, TWO[1]), "last").ids[: len(sent)] == sent
    assert tokenizer.decode(sent) == "<|user|>Be brief.\n\nWrite a word.<|end|><|assistant|>"


def test_a_system_turn_that_goes_once_a_reply_follows_is_trained_on_as_searched(
    tokenizer: Any, templated: Any
) -> None:
    """Its text stands once before each reply, whatever rows came before it, and loss is on the replies alone."""
    encoder = templated(DROPS_ANSWERED_SYSTEM)
    system = Message(role="system", content="Be brief.")
    for asked in ("Write a word.", "Name a fox.", "Write two words."):
        for turns in (talk(asked, "fox"), talk(asked, "fox", "Again.", "owl")):
            messages = (system, *turns)
            sent = list(ChatEncoder(tokenizer).render(messages[:-1]).ids)
            encoded = encoder.encode(messages, "last")
            assert encoded.ids[: len(sent)] == sent
            assert encoded.labels[: len(sent)] == [IGNORED] * len(sent)
            rendering = encoder.text(messages)
            assert rendering.context.count("Be brief.") == rendering.context.count(asked) == 1
            assert rendering.reply.strip() == f"{turns[-1].content}<|end|>"


@pytest.mark.parametrize("reply_follows", ["{{ m['content'] + '!' }}", "{{ '?' + m['content'] }}"])
def test_a_template_that_rewrites_the_last_question_is_rejected(
    templated: Any, reply_follows: str
) -> None:
    """Each row alike, also the first, whose question is the one that the seam was found with."""
    changes = (
        f"{_LOOP}{{% if m['role'] == 'user' and not loop.last %}}{reply_follows}"
        "{% else %}{{ '>' + m['content'] }}{% endif %}{% endfor %}{{ '|' if add_generation_prompt }}"
    )
    encoder = templated(changes)
    for asked in ("Write a word.", "Write a word.", "Name a fox."):
        with pytest.raises(UsageError, match="differently with and without it"):
            encoder.text(talk(asked, "fox"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": []}, "'messages' is a list; give a list of turns"),
        ({"text": "a"}, "'messages' is missing"),
        ({"messages": [{"role": "user", "content": "a"}]}, "are by user"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "are by assistant"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages: role"),
        ({"messages": [{"role": "user", "content": 3}]}, "expected a string"),
        ([1], "expected a JSON object, got a list"),
    ],
)
def test_wrong_conversations_name_their_line(tmp_path: Path, row: Any, said: str) -> None:
    """The second row of the file is told by its number."""
    good = {"messages": [{"role": r, "content": "a"} for r in ("user", "assistant")], "kind": "x"}
    path = tmp_path / "sft.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n")
    with pytest.raises(UsageError, match=rf"sft\.jsonl:2: .*{said}"):
        read_conversations(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chosen": None}, "'chosen' is a NoneType"),
        ({"rejected": [{"role": "user", "content": "a"}]}, "rejected must be a text or one turn"),
        ({"prompt": [{"role": "assistant", "content": "a"}]}, "prompt ends with the assistant"),
    ],
)
def test_wrong_pairs_name_their_line(tmp_path: Path, change: Any, said: str) -> None:
    """The message says which side is wrong and what is accepted."""
    row = {"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c", **change}
    path = tmp_path / "dpo.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UsageError, match=rf"dpo\.jsonl:1: {said}"):
        read_pairs(path)


def test_a_conversation_may_begin_with_the_assistant(
    tokenizer: Any, templated: Any, tmp_path: Path
) -> None:
    """As a prompt may; a template that refuses it names the line, and what to do."""
    roles = ("assistant", "user", "assistant")
    rows = [
        {
            "messages": [
                {"role": r, "content": c} for r, c in zip(roles[-n:], "abc"[-n:], strict=True)
            ]
        }
        for n in (2, 3)
    ]
    path = tmp_path / "sft.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)))
    examples = read_conversations(path)
    assert [len(messages) for messages in examples] == [2, 3]
    renders = f"{_TURNS}{_OPEN}{{{{'<|assistant|>'}}}}{{% endif %}}"
    encoder = templated(renders)
    (_, longer) = each_row(path, examples, lambda messages: encoder.encode(messages, "last"))
    sent = list(ChatEncoder(tokenizer).render(examples[1][:2]).ids)
    assert tokenizer.decode(longer.ids[len(sent) :]) == "c<|end|>"
    encoder = templated(
        "{% if messages[0]['role'] != 'user' %}{{ raise_exception('user first') }}{% endif %}"
        + renders
    )
    said = r"sft\.jsonl:3: .*assistant, user: user first; leave such conversations out"
    with pytest.raises(UsageError, match=said):
        each_row(path, examples, lambda messages: encoder.encode(messages, "last"))


def test_a_side_is_a_text_or_a_turn(tmp_path: Path) -> None:
    """Both forms read alike, and other keys are left alone."""
    prompt = [{"role": "user", "content": "a"}]
    turn = [{"role": "assistant", "content": "b"}]
    path = tmp_path / "dpo.jsonl"
    rows: list[Any] = [
        {"prompt": prompt, "chosen": "b", "rejected": "c", "prompt_id": "p", "swapped": False},
        {"prompt": prompt, "chosen": turn, "rejected": "c"},
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)))
    one, other = read_pairs(path)
    assert one == other
    assert one["chosen"] == (Message(role="assistant", content="b"),)


@pytest.mark.parametrize(("content", "said"), [("\n\n", "has no example"), ("{\n", "not JSON")])
def test_files_without_rows_are_errors(tmp_path: Path, content: str, said: str) -> None:
    """An empty file and a broken one name themselves, and so does one that is not there."""
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_pairs(path)
    with pytest.raises(UsageError, match="cannot read the data"):
        read_pairs(tmp_path / "none.jsonl")


def test_no_thinking_is_trained_on() -> None:
    """It is removed from every reply, of earlier turns too, and the examples that had any are counted."""
    thought = talk("Hi", "<think>hm</think>\n\nHello.", "Bye", "<think>never ends")
    pair = {
        "prompt": thought[:3],
        "chosen": talk("", "hm\n</think>\n\nyes")[1:],
        "rejected": TWO[1:2],
    }
    (conversation, plain), num = without_thinking([thought, TWO])
    assert ([turn.content for turn in conversation], plain, num) == (
        ["Hi", "Hello.", "Bye", ""],
        TWO,
        1,
    )
    (stripped,), num = without_thinking([pair])
    assert [turn.content for turn in stripped["prompt"]] == ["Hi", "Hello.", "Bye"]
    assert (stripped["chosen"][0].content, stripped["rejected"], num) == ("yes", TWO[1:2], 1)


def test_a_format_that_the_prompt_asks_for_is_trained_on() -> None:
    """Tags that are everyday words belong to the reply where the user's turn spells them."""
    asked = talk("Use <reasoning> tags.", "<reasoning>a</reasoning>b")
    assert without_thinking([asked]) == ([asked], 0)
