"""Prompts from files, standard input and text: parsing, ids and errors."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import UsageError
from spar.prompts import prompt_from_row, prompt_from_text, read_prompts, with_stored_ids
from spar.types import Message, Prompt

any_text = st.text(st.characters(exclude_categories=()), min_size=1)
"""Any Python string, lone surrogates and control characters included."""

meta_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=5,
)


def write(path: Path, *rows: object) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="ascii")
    return path


def mistake(source: Path | str) -> str:
    """The message of the error that reading `source` to its end raises."""
    with pytest.raises(UsageError) as caught:
        list(read_prompts(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(
    prompt_id=any_text,
    above=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), any_text)),
    text=any_text.filter(str.strip),
    meta=st.dictionaries(
        any_text.filter(lambda name: name not in ("id", "prompt", "messages")),
        meta_values,
        max_size=3,
    ),
)
def test_any_text_round_trips(
    tmp_path_factory: pytest.TempPathFactory,
    prompt_id: str,
    above: list[tuple[str, str]],
    text: str,
    meta: dict[str, object],
) -> None:
    """Id, messages and meta are read back equal, whatever characters they have; a field that is null is none."""
    turns = [*above, ("user", text)]
    messages = [{"role": role, "content": content} for role, content in turns]
    path = tmp_path_factory.mktemp("prompts") / "rows.jsonl"
    (prompt,) = read_prompts(write(path, {"id": prompt_id, "messages": messages, **meta}))
    assert prompt.id == prompt_id
    assert [(message.role, message.content) for message in prompt.messages] == turns
    assert prompt.meta == {name: value for name, value in meta.items() if value is not None}
    assert Prompt.model_validate(json.loads(json.dumps(prompt.model_dump()))) == prompt


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800 alone", "🙂 \u202eright to left", "a\u2028b\x85c\x0cd\re", "x" * 100_000],
    ids=["nul", "surrogate", "emoji-rtl", "odd-line-ends", "long"],
)
def test_hostile_text_is_one_prompt(tmp_path: Path, text: str) -> None:
    """Any text is one prompt, neither split nor changed."""
    (prompt,) = read_prompts(write(tmp_path / "rows.jsonl", {"prompt": text}))
    assert prompt.messages == (Message(role="user", content=text),)


def test_text_file_has_one_prompt_per_line(tmp_path: Path) -> None:
    """Only line feeds, with or without a carriage return, end a line; blank ones are skipped."""
    path = tmp_path / "prompts.txt"
    path.write_bytes('\ufefffirst\r\n\n  \n second\u2028still\rsecond\n{"third"'.encode())
    prompts = list(read_prompts(path))
    assert [prompt.messages[0].content for prompt in prompts] == [
        "first",
        " second\u2028still\rsecond",
        '{"third"',
    ]
    assert {prompt.source for prompt in prompts} == {str(path)}


def test_ids_are_explicit_or_derived(tmp_path: Path) -> None:
    """`id` precedes `key`, `key` precedes a derived id; numbers become strings."""
    path = write(
        tmp_path / "rows.jsonl",
        {"prompt": "a", "id": "one", "key": 1},
        {"prompt": "a", "key": 1000},
        {"prompt": "a"},
        {"messages": [{"role": "user", "content": "a"}]},
    )
    one, key, derived, other = read_prompts(path)
    assert (one.id, key.id) == ("one", "1000")
    assert (one.meta, key.meta) == ({"key": 1}, {"key": 1000})
    assert derived.id == f"000001-{derived.digest[:8]}" == prompt_from_text("a").id
    assert other.id == f"000002-{derived.digest[:8]}"
    assert [prompt.id for prompt in read_prompts(path)][2] == derived.id


def test_derived_ids_come_from_the_content(tmp_path: Path) -> None:
    """In another order, the same rows have the same ids; another text or other constraints have others."""
    rows = [
        *({"prompt": "a"}, {"prompt": "b"}, {"prompt": "b"}),
        {"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {"prompt": "a", "instruction_id_list": ["startend:quotation"], "kwargs": [{}]},
    ]
    forwards = list(read_prompts(write(tmp_path / "rows.jsonl", *rows)))
    backwards = list(read_prompts(write(tmp_path / "swor.jsonl", *reversed(rows))))
    assert {(p.id, p.digest) for p in forwards} == {(p.id, p.digest) for p in backwards}
    assert len({prompt.id for prompt in forwards}) == len(rows)


def test_the_ids_of_an_earlier_run_are_found_by_content(tmp_path: Path) -> None:
    """Line-based ids of the last version stay, equal rows get one each, and new rows collide with none."""
    path = tmp_path / "rows.txt"
    path.write_text("new\nsame\nother\nsame\nsame\n", encoding="ascii")
    prompts = list(read_prompts(path))
    new, same, other = (prompt.digest for prompt in prompts[:3])
    stored = {
        **{f"{line:06d}-{same[:8]}": same for line in (2, 7)},
        f"000003-{other[:8]}": other,
        f"000001-{new[:8]}": "of another text",
    }
    ids = [prompt.id for prompt in with_stored_ids(prompts, stored)]
    assert ids == [
        f"000002-{new[:8]}",
        f"000002-{same[:8]}",
        f"000003-{other[:8]}",
        f"000007-{same[:8]}",
        f"000003-{same[:8]}",
    ]
    explicit = prompts[1].model_copy(update={"id": "mine"})
    assert list(with_stored_ids([explicit], stored)) == [explicit]


def test_a_row_without_an_id_does_not_take_that_of_another_row(tmp_path: Path) -> None:
    """An id that a row of the same content has of its own is none that comes from the content."""
    path = write(tmp_path / "rows.jsonl", '{"prompt": "a"}', '{"id": "0", "prompt": "a"}')
    prompts = list(read_prompts(path))
    stored = {prompt.id: prompt.digest for prompt in prompts}
    assert list(with_stored_ids(prompts, stored)) == prompts


TEXT = {"role": "user", "content": "Do it."}


@pytest.mark.parametrize(
    ("row", "turns", "meta"),
    [
        (
            {"instruction": "Do it.", "input": "", "output": "ok"},
            ["user: Do it."],
            {"output": "ok"},
        ),
        ({"instruction": "Do", "input": "it", "system": "Be"}, ["system: Be", "user: Do\nit"], {}),
        ({"prompt": "Do it.", "system": "Be"}, ["system: Be", "user: Do it."], {}),
        ({"prompt": [TEXT], "system": None, "a": 1}, ["user: Do it."], {"a": 1}),
        ({"messages": [TEXT], "system": "Be"}, ["system: Be", "user: Do it."], {}),
        (
            {"messages": [{"role": "system", "content": "Be"}, TEXT], "system": "Be"},
            ["system: Be", "user: Do it."],
            {},
        ),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be"},
                    {"from": "human", "value": "a"},
                    {"from": "gpt", "value": "b", "weight": 1},
                    {"from": "human", "value": "c"},
                    {"from": "gpt", "value": "d"},
                ]
            },
            ["system: Be", "user: a", "assistant: b", "user: c"],
            {"output": "d", "turns": [{}, {}, {"weight": 1}, {}]},
        ),
        (
            {"messages": [{"role": "developer", "content": "Be"}, TEXT | {"name": "n"}]},
            ["system: Be", "user: Do it."],
            {"turns": [{}, {"name": "n"}]},
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "a"},
                            {"type": "input_text", "text": "b"},
                        ],
                        "tool_calls": None,
                    }
                ]
            },
            ["user: a\nb"],
            {},
        ),
        ({"prompt": [TEXT], "n": 1}, ["user: Do it."], {"n": 1}),
        ({"messages": json.dumps([TEXT])}, ["user: Do it."], {}),
        (
            {"custom_id": "x", "method": "POST", "body": {"model": "m", "messages": [TEXT]}},
            ["user: Do it."],
            {"custom_id": "x", "method": "POST", "body": {"model": "m"}},
        ),
    ],
    ids=[
        *(
            "alpaca",
            "alpaca-input",
            "system",
            "no-system",
            "system-beside-messages",
            "system-twice",
        ),
        *("sharegpt", "developer", "parts", "trl", "cell", "batch"),
    ],
)
def test_conversations_as_people_have_them(
    tmp_path: Path, row: dict[str, Any], turns: list[str], meta: dict[str, Any]
) -> None:
    """Each form gives the turns before the last reply; other fields are in `meta`."""
    (prompt,) = read_prompts(write(tmp_path / "rows.jsonl", row))
    assert [f"{message.role}: {message.content}" for message in prompt.messages] == turns
    assert prompt.meta == meta
    assert prompt.id == row.get("custom_id", f"000001-{prompt.digest[:8]}")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": None, "prompt": "hello"},
        {"prompt": None, "messages": [{"role": "user", "content": "hello"}]},
        {"prompt": None, "instruction": "hello", "input": None, "conversations": None},
        {"prompt": "hello", "instruction_id_list": None, "kwargs": None, "tools": None},
    ],
)
def test_null_fields_count_as_absent(tmp_path: Path, row: dict[str, Any]) -> None:
    """As in a table, of which `DataFrame.to_json` writes missing cells so; in rows of Python too."""
    rows = {"id": None, "custom_id": None, "key": 5, **row, "source": "a", "note": None}
    (prompt,) = read_prompts(write(tmp_path / "rows.jsonl", rows))
    assert (prompt.id, prompt.messages[-1].content) == ("5", "hello")
    assert prompt.meta == {"key": 5, "source": "a"}
    assert prompt_from_row(rows, "row 1", "python").meta == prompt.meta


def test_nulls_inside_of_fields_stay(tmp_path: Path) -> None:
    """Arguments of constraints are null where a type does not have them, and a reply of one's own takes the place of a null."""
    kwargs = [{"num_words": 5, "relation": None}]
    row = {
        "prompt": "a",
        "instruction_id_list": ["length_constraints:number_words"],
        "kwargs": kwargs,
    }
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file = write(tmp_path / "rows.jsonl", row, {"messages": turns, "output": None})
    first, second = read_prompts(file)
    assert first.meta["kwargs"] == kwargs
    assert second.meta == {"output": "b"}


def test_prompts_of_runs_with_null_fields_are_found(tmp_path: Path) -> None:
    """Earlier versions stored a row's null fields with its prompt; both have the same content."""
    (prompt,) = read_prompts(write(tmp_path / "rows.jsonl", {"prompt": "a", "b": 1, "c": None}))
    stored = prompt.model_copy(update={"meta": {"b": 1, "c": None}})
    assert stored.digest == prompt.digest
    bare = prompt.model_copy(update={"meta": {"c": None}})
    assert bare.digest == prompt.model_copy(update={"meta": {}}).digest


@pytest.mark.parametrize(
    "kwargs",
    ['[{"num_words": 3}]', [{"num_words": 3}], ['{"num_words": 3}']],
    ids=["text", "list", "texts"],
)
def test_arguments_of_constraints_may_be_text(tmp_path: Path, kwargs: Any) -> None:
    """JSON in a string is read as the list that it is."""
    row = {"prompt": "x", "instruction_id_list": '["a:b"]', "kwargs": kwargs}
    (prompt,) = read_prompts(write(tmp_path / "rows.jsonl", row))
    assert prompt.meta == {"instruction_id_list": ["a:b"], "kwargs": [{"num_words": 3}]}


def test_standard_input_mixes_objects_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that starts with a brace is an object, any other is a prompt."""
    data = b'\xef\xbb\xbf  {"prompt": "json", "id": 7}\n\nplain text\n[1]\n'
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    prompts = list(read_prompts("-"))
    assert [prompt.messages[0].content for prompt in prompts] == ["json", "plain text", "[1]"]
    assert prompts[0].id == "7"


@pytest.mark.parametrize("data", [b'["a","b"]', b'["a",\n"b"]\n', b'[{"prompt": "a"}, "b"]'])
def test_standard_input_may_be_one_list(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Of objects, or of texts."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert [prompt.messages[0].content for prompt in read_prompts("-")] == ["a", "b"]


def test_prompt_from_text_is_one_turn() -> None:
    """A text may have several lines."""
    prompt = prompt_from_text("two\nlines ")
    assert prompt.messages == (Message(role="user", content="two\nlines "),)
    assert prompt.source == "--prompt"


def test_limit_stops_before_the_next_row(tmp_path: Path) -> None:
    """Rows past the limit are not read, so a bad one raises no error."""
    path = write(tmp_path / "rows.jsonl", {"prompt": "a"}, {"prompt": "b"}, {"wrong": 1})
    assert [prompt.messages[0].content for prompt in read_prompts(path, 2)] == ["a", "b"]
    assert list(read_prompts(path, 0)) == []
    with pytest.raises(UsageError, match="-1"):
        read_prompts(path, -1)


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("row", "field", "meta"),
    [
        ({"question": "hi", "answer": "no"}, "question", {"answer": "no"}),
        ({"question": "hi", "prompt": "not this"}, "question", {"prompt": "not this"}),
        ({"question": "hi", "messages": []}, "question", {"messages": []}),
        ({"dialogue": [USER], "n": 1}, "dialogue", {"n": 1}),
        ({"prompt": "hi", "messages": [USER]}, "prompt", {"messages": [USER]}),
        ({"prompt": "not this", "messages": [USER]}, "messages", {"prompt": "not this"}),
        ({"instruction": "h", "input": "i", "prompt": "x"}, "instruction", {"prompt": "x"}),
    ],
)
def test_the_prompt_of_a_field_that_is_named(
    tmp_path: Path, row: dict[str, Any], field: str, meta: dict[str, Any]
) -> None:
    """A text or a conversation under any name; all other fields are `meta`, whatever they are called."""
    (prompt,) = read_prompts(write(tmp_path / "rows.jsonl", row), prompt_field=field)
    assert "".join(prompt.messages[0].content.split()) == "hi"
    assert prompt.meta == meta


def test_a_field_that_is_named_and_missing(tmp_path: Path) -> None:
    """The message names it; lines of text need none, and a cell that is no text is refused."""
    path = write(tmp_path / "rows.jsonl", {"question": 1})
    with pytest.raises(
        UsageError, match=r"\[\"question\"\]; accepted: a row with 'text' \(--prompt-f"
    ):
        list(read_prompts(path, prompt_field="text"))
    with pytest.raises(UsageError, match=r"'question' is 1; accepted: a string, or a list of mess"):
        list(read_prompts(path, prompt_field="question"))
    table = tmp_path / "rows.csv"
    table.write_text("id,question\n7,hi\n", encoding="utf-8")
    assert [p.id for p in read_prompts(table, prompt_field="question")] == ["7"]
    lines = tmp_path / "rows.txt"
    lines.write_text("hi\n", encoding="utf-8")
    assert len(list(read_prompts(lines, prompt_field="question"))) == 1


BAD_CONSTRAINTS: list[tuple[Any, Any, str]] = [
    (5, None, "'instruction_id_list' is 5; accepted: a list of strings"),
    ([["a"]], None, "'instruction_id_list' is"),
    ([{}], None, "'instruction_id_list' is"),
    ("a", None, "'instruction_id_list' is"),
    (["a"], {"n": 1}, "'kwargs' is {\"n\": 1}; accepted: a list of objects"),
    (["a"], [[]], "'kwargs' is [[]]"),
    (["a"], "x", "'kwargs' is \"x\""),
    (["a"], "[{", "not JSON"),
    (["a"], [{}, {}], "'kwargs' has 2 objects for 1 constraints"),
]
"""`instruction_id_list`, `kwargs`, and what the message says."""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "x"', "not JSON at column 15"),
        ("[" * 100_000, "not JSON"),
        ('{"prompt": "x", "a": ' + "[" * 200 + "]" * 200 + "}", "deeper than 100"),
        ('["prompt"]', '["prompt"]; accepted: one JSON object per line'),
        (
            '{"text": "x"}',
            "\"text\"]; accepted: a row with 'prompt' or 'messages'; rename the field that holds the prompt to "
            "'prompt', or name it with --prompt-field NAME",
        ),
        ('{"id": 1, "Prompt ": "x"}', "; rename \"Prompt \" to 'prompt'"),
        ('{"prompt": "x", "messages": []}', "both 'prompt' and 'messages'"),
        ('{"prompt": 3}', "'prompt' is 3; accepted: a string"),
        ('{"prompt": null}', "'prompt' is null; accepted: a string"),
        ('{"prompt": null, "messages": null}', "'prompt' is null; accepted: a string"),
        (
            '{"data": [{"prompt": "x"}], "version": 1}',
            'the file is an object around a list of rows: pass the list in "data" alone, or one of its objects per line',
        ),
        ('{"dialog": [{"role": "user", "content": "x"}]}', "name it with --prompt-field NAME"),
        ('{"prompt": ""}', 'a blank prompt, ""'),
        ('{"prompt": " \\n\\u00a0"}', "a blank prompt"),
        ('{"messages": "x"}', "'messages' is \"x\"; accepted: a list"),
        ('{"messages": []}', "'messages' is []"),
        ('{"messages": ["x"]}', "'messages'[0] is \"x\"; accepted: an object"),
        ('{"messages": [{"role": "user"}]}', "'role' and 'content'"),
        (
            json.dumps({"messages": [USER], "tools": [{"type": "function"}]}),
            "a conversation with 'tools'; accepted: turns of text alone",
        ),
        (
            json.dumps({"custom_id": "q", "body": {"messages": [USER], "tools": [{}]}}),
            "a conversation with 'tools'",
        ),
        (json.dumps({"prompt": "a", "images": ["x.png"]}), "a conversation with 'images'"),
        (
            json.dumps({"instruction": "do", "input": "", "history": [["a", "b"]]}),
            "a conversation with 'history'",
        ),
        (
            json.dumps({"messages": [USER | {"tool_calls": [1]}]}),
            "'tool_calls'; accepted: turns of",
        ),
        (json.dumps({"messages": [USER | {"content": []}]}), "content []; accepted: a string"),
        (
            json.dumps(
                {"messages": [USER | {"content": [{"type": "image_url", "image_url": "u"}]}]}
            ),
            'a part of type "image_url"; accepted: parts of type text',
        ),
        ('{"conversations": [{"from": "observation", "value": "x"}]}', 'the role "observation"'),
        ('{"instruction": 5}', "'instruction' is 5; accepted: a string"),
        ('{"instruction": "x", "system": 5}', "'system' is 5; accepted: a string"),
        ('{"prompt": "x", "system": {"a": 1}}', "'system' is {"),
        (
            json.dumps({"messages": [{**USER, "role": "system"}, USER], "system": "Be"}),
            "another system turn beside the field 'system'; accepted: one of them",
        ),
        ('{"body": {"model": "m"}}', "'body.messages' is null"),
        ('{"prompt": "x", "a": NaN}', "the number NaN"),
        ('{"prompt": "x", "prompt": "y"}', 'the key "prompt" twice'),
        (json.dumps({"messages": [USER | {"role": "tool"}]}), '"tool"; accepted: system, user'),
        (json.dumps({"messages": [USER | {"role": ["user"]}]}), 'role ["user"]'),
        (json.dumps({"messages": [USER | {"content": None}]}), "content null; accepted: a string"),
        (json.dumps({"messages": [{**USER, "role": "assistant"}]}), "the role 'assistant'"),
        (json.dumps({"messages": [USER, {**USER, "role": "system"}]}), "the role 'system'"),
        *(
            (json.dumps({"prompt": "x", "instruction_id_list": names, "kwargs": kwargs}), words)
            for names, kwargs, words in BAD_CONSTRAINTS
        ),
        ('{"prompt": "x", "id": true}', "'id' is true; accepted: a non-empty string"),
        ('{"prompt": "x", "id": ""}', "'id' is \"\""),
        ('{"prompt": "x", "key": 1.5}', "'key' is 1.5"),
        ('{"prompt": "x", "id": "first"}', 'duplicate id "first", also on line 1'),
    ],
)
def test_a_bad_row_is_a_short_error(tmp_path: Path, line: str, words: str) -> None:
    """The message has the file, the line, the value and what is accepted."""
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"prompt": "fine", "id": "first"}}\n\n{line}\n', encoding="ascii")
    message = mistake(path)
    assert message.startswith(f"{path}:3: ")
    assert words in message
    assert len(message) < len(str(path)) + 200


def test_a_key_equal_to_an_id_is_refused(tmp_path: Path) -> None:
    """Ids are compared as strings."""
    path = write(tmp_path / "rows.json", {"prompt": "a", "id": "7"}, {"prompt": "b", "key": 7})
    assert mistake(path).startswith(f'{path}:2: duplicate id "7", also on line 1')


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.txt", b""),
        ("rows.txt", b"\n \n"),
        ("rows.txt", b"\xef\xbb\xbf"),
        ("rows.json", b"[]"),
        ("rows.csv", b"prompt\n"),
    ],
    ids=["none", "blank", "bom", "list", "header"],
)
def test_a_file_without_prompts_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A file without a prompt is an error at the end of the stream, in words that fit every format."""
    path = tmp_path / name
    path.write_bytes(content)
    expected = "expected at least one, as a line, a row or an item of a list"
    assert mistake(path) == f"{path} has no prompt; {expected}"


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    """The error names the line and the first bad byte."""
    path = tmp_path / "rows.txt"
    path.write_bytes(b"fine\nna\xefve\n")
    assert mistake(path) == f"{path}:2: 0xef at byte 3 of the line; accepted: UTF-8 text"


def test_paths_are_checked_immediately(tmp_path: Path) -> None:
    """A missing file, a directory and an unknown suffix are errors before the first prompt."""
    (tmp_path / "rows.doc").write_text("prompt\n", encoding="ascii")
    for name, words in [("none.txt", "no file"), ("", "directory"), ("rows.doc", r"'\.doc'")]:
        with pytest.raises(UsageError, match=words):
            read_prompts(tmp_path / name)


def test_a_blank_typed_prompt_is_refused() -> None:
    """White space alone is an error."""
    with pytest.raises(UsageError, match=r"\(--prompt\) is blank"):
        prompt_from_text(" \n")


def test_rows_are_not_held_in_memory(tmp_path: Path) -> None:
    """Reading takes much less memory than the size of the file."""
    path = tmp_path / "rows.txt"
    path.write_text(("x" * 10_000 + "\n") * 1000, encoding="ascii")
    tracemalloc.start()
    try:
        num_prompts = sum(1 for _ in read_prompts(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert num_prompts == 1000
    assert peak < path.stat().st_size / 5
