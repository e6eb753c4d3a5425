"""Conversations are adapted to what a chat template can render, and what cannot be is an error at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.chat_template import Adaptations, ChatTemplate, adapt, template_variables
from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.types import Message

pytestmark = pytest.mark.model

LOOP = "{% for m in messages %}"
TURN = "{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}"
OPEN = "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
PLAIN = LOOP + TURN + OPEN
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + LOOP
    + "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    + "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    + TURN
    + OPEN
)
DROPS_SYSTEM = LOOP + "{% if m['role'] != 'system' %}" + TURN + "{% endif %}" + OPEN
DROPS_LATER_SYSTEM = (
    LOOP + "{% if m['role'] != 'system' or loop.first %}" + TURN + "{% endif %}" + OPEN
)
DROPS_ANSWERED_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{% set rules = messages[0]['content'] %}"
    + "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    + "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    + "{{ raise_exception('After the optional system message, roles must alternate') }}{% endif %}"
    + "{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + '<|end|>' }}"
    + "{% elif loop.last and rules is defined %}{{ '[INST] ' + rules + '\n\n' + m['content'] + '[/INST]' }}"
    + "{% else %}{{ '[INST] ' + m['content'] + '[/INST]' }}{% endif %}{% endfor %}"
)
"""As Mistral-7B-Instruct-v0.3 does it: the system's text is in the user's last turn, if no reply follows."""
PARTS_ONLY = (
    LOOP
    + "{{ '<|' + m['role'] + '|>' }}{% for part in m['content'] %}{% if part['type'] == 'text' %}"
    + "{{ part['text'] }}{% endif %}{% endfor %}{{ '<|end|>' }}"
    + OPEN
)
CLOCK = "{{ '<|system|>' + strftime_now('%d %b %Y') + '<|end|>' }}" + PLAIN
THINKS = PLAIN + "{% if enable_thinking is defined and enable_thinking is false %}no{% endif %}"


def talk(*turns: str) -> tuple[Message, ...]:
    """Turns such as `user: hi`."""
    pairs = [turn.partition(": ") for turn in turns]
    return tuple(Message.model_validate({"role": r, "content": c}) for r, _, c in pairs)


LONG = talk(
    "system: Be brief.", "user: a", "assistant: b", "system: Now long.", "user: c", "user: d"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The embedded model's tokenizer."""
    return pytest.importorskip("transformers").AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.fixture
def notes() -> list[str]:
    """Lines for the user."""
    return []


@pytest.fixture
def templated(tokenizer: Any, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts another template over the embedded model's tokenizer."""

    def with_template(source: Any) -> ChatTemplate:
        monkeypatch.setattr(tokenizer, "chat_template", source)
        return ChatTemplate(tokenizer, notes.append)

    return with_template


@pytest.mark.parametrize(
    ("source", "adaptations"),
    [
        (PLAIN, Adaptations()),
        (THINKS, Adaptations()),
        (
            REFUSES_SYSTEM,
            Adaptations(fold_system="all", join_turns=True, system="refuses"),
        ),
        (DROPS_SYSTEM, Adaptations(fold_system="all", system="leaves out")),
        (DROPS_LATER_SYSTEM, Adaptations(fold_system="later", system="leaves out")),
        (
            DROPS_ANSWERED_SYSTEM,
            Adaptations(fold_system="all", join_turns=True, system="drops"),
        ),
        (PARTS_ONLY, Adaptations(parts=True)),
        (
            LOOP + "{% if m['role'] == 'user' %}" + TURN + "{% endif %}" + OPEN,
            Adaptations(fold_system="all", system="leaves out", assistant="leaves out"),
        ),
    ],
)
def test_probe_words_show_what_a_template_renders(
    templated: Any, source: str, adaptations: Adaptations
) -> None:
    """Words of each role that are refused or missing in the text."""
    assert templated(source).adaptations == adaptations


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (REFUSES_SYSTEM, "the chat template refuses system turns: each is put"),
        (DROPS_SYSTEM, "the chat template leaves out system turns: each is put"),
        (DROPS_LATER_SYSTEM, "the chat template leaves out system turns: each is put"),
        (PARTS_ONLY, ""),
        (PLAIN, ""),
    ],
)
def test_every_word_of_a_conversation_is_rendered(
    templated: Any, notes: list[str], source: str, said: str
) -> None:
    """In order, whatever the template; what was adapted is said once."""
    template = templated(source)
    for _ in range(2):
        text = template.text(template.turns(LONG), prompt=True)
    words = ["Be brief.", "a", "b", "Now long.", "c", "d"]
    places = [text.index(word) for word in ("Be brief.", "Now long.")]
    assert places == sorted(places)
    assert all(word in text for word in words)
    assert text.endswith("<|assistant|>")
    assert [note for note in notes if said and note.startswith(said)] == notes
    assert len(notes) == bool(said)


def test_a_system_turn_stays_where_it_is_once_a_reply_follows(
    templated: Any, notes: list[str]
) -> None:
    """It is in the first user's turn in every rendering, and that is said; one turn reads as by the template alone."""
    template = templated(DROPS_ANSWERED_SYSTEM)
    asked = talk("system: Be brief.", "user: a", "assistant: b", "user: c")
    texts = [template.text(template.turns(asked[:n]), prompt=True) for n in (2, 3, 4)]
    first = "[INST] Be brief.\n\na[/INST]"
    assert texts == [first, f"{first} b<|end|>", f"{first} b<|end|>[INST] c[/INST]"]
    raw = [{"role": m.role, "content": m.content} for m in asked[:2]]
    assert template.text(raw, prompt=True) == first
    assert notes == [
        "the chat template leaves out system turns once a reply follows: each is put at the start of the "
        "user's turn that follows it"
    ]


def test_turns_of_one_role_are_joined(templated: Any, notes: list[str]) -> None:
    """As the template demands turns that alternate."""
    template = templated(REFUSES_SYSTEM)
    assert template.turns(talk("user: a", "user: b")) == [{"role": "user", "content": "a\n\nb"}]
    assert notes == ["the chat template refuses two turns of one role in a row: they are joined"]


@given(
    st.lists(st.sampled_from(["system", "user", "assistant"]), max_size=6),
    st.sampled_from(["no", "later", "all"]),
    st.booleans(),
)
def test_adapted_turns_keep_every_text_in_order(roles: list[str], fold: Any, join: bool) -> None:
    """Nothing is lost or moved past another text, and a beginning stays a beginning."""
    turns = [{"role": role, "content": f"<{i}>"} for i, role in enumerate(roles)]
    adaptations = Adaptations(fold_system=fold, join_turns=join)
    adapted = adapt(turns, adaptations)
    texts = "".join(turn["content"] for turn in adapted).replace("\n\n", "")
    assert texts == "".join(turn["content"] for turn in turns)
    assert fold != "all" or all(turn["role"] != "system" for turn in adapted)
    if roles and roles[-1] == "assistant":
        more = adapt([*turns, {"role": "user", "content": "more"}], adaptations)
        assert more[: len(adapted)] == adapted


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "has no chat template; use a chat model"),
        (
            {"rag": PLAIN, "tool_use": PLAIN},
            "the chat templates rag, tool_use and none named default",
        ),
        ("{{ '<|assistant|>' }}", "leaves out the user's turn, so no prompt can be rendered"),
        ("{{ raise_exception('never') }}", r"refuses the user's turn \(never\), so no prompt"),
    ],
)
def test_templates_that_cannot_render_a_prompt_are_errors(
    templated: Any, source: Any, said: str
) -> None:
    """Before anything is generated."""
    with pytest.raises(UsageError, match=said):
        templated(source).check("MODEL")


def test_a_default_among_named_templates_is_used(templated: Any) -> None:
    """As transformers does."""
    template = templated({"default": PLAIN, "rag": "x"})
    template.check("MODEL")
    assert template.text(template.turns(talk("user: hi")), prompt=False) == "<|user|>hi<|end|>"


def test_arguments_reach_the_template_and_unknown_ones_are_errors(templated: Any) -> None:
    """A misspelt argument would change nothing, so it is refused."""
    template = templated(THINKS)
    template.check("MODEL", [{"enable_thinking": False}])
    turns = template.turns(talk("user: hi"))
    assert template.text(turns, {"enable_thinking": False}, prompt=True).endswith("no")
    assert not template.text(turns, prompt=True).endswith("no")
    with pytest.raises(UsageError, match=r"enable_thinkin; did you mean 'enable_thinking'\?"):
        template.check("MODEL", [{"enable_thinkin": False}])
    with pytest.raises(UsageError, match="--reasoning-effort: the chat template of MODEL reads no"):
        template.check("MODEL", [{"reasoning_effort": "low"}])
    with pytest.raises(UsageError, match="reads no messages"):
        template.check("MODEL", [{"messages": []}])


def test_the_clock_of_a_template_stands(templated: Any, notes: list[str]) -> None:
    """One date in every prompt of every run, or the one that is passed."""
    template = templated(CLOCK)
    template.check("MODEL")
    turns = template.turns(talk("user: hi"))
    assert template.text(turns, prompt=True).startswith("<|system|>26 Jul 2024<|end|>")
    assert "2024-07-26 in every prompt" in notes[0]
    passed = {"strftime_now": "2026-01-31"}
    template.check("MODEL", [passed])
    assert "31 Jan 2026" in template.text(turns, passed, prompt=True)
    with pytest.raises(UsageError, match="strftime_now=today: not a date"):
        template.check("MODEL", [{"strftime_now": "today"}])


def test_variables_of_templates() -> None:
    """Also where they are only given a default, and beside marks of the reply."""
    source = (
        "{% if not date is defined %}{% set date = 'x' %}{% endif %}{{ date }}"
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    )
    assert template_variables(source) == frozenset({"date"})
    assert template_variables("{% if %}") is None


def test_the_embedded_model_needs_nothing(tokenizer: Any, notes: list[str]) -> None:
    """Its own template renders every conversation as it is."""
    template = ChatTemplate(tokenizer, notes.append)
    template.check("nano")
    assert template.adaptations == Adaptations()
    assert [turn["content"] for turn in template.turns(LONG)] == [m.content for m in LONG]
    assert not notes
    assert Path(CHECKPOINT, "chat_template.jinja").read_text() == template.source
