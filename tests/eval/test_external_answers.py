"""Answers from anywhere: every source that is read, and every mistake as one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import UsageError
from spar.eval.benchmark import Answer
from spar.eval.external_answers.matching import fill_answers, match_answers, read_grader_replies
from spar.record.evaluation import Example, write_examples
from spar.types import Message, Node, Prompt, SearchTree, Usage

TREE_USAGE = Usage(calls=2, completion_tokens=7)


def prompt(id_: str, text: str) -> Prompt:
    """An example of one turn."""
    return Prompt(id=id_, messages=(Message(role="user", content=text),))


def read_responses(
    path: Path,
    examples: Sequence[Prompt],
    *,
    allow_missing: bool = False,
    scored: frozenset[str] | None = None,
) -> dict[str, Answer]:
    """An answer to each of the scored examples, as the command line reads them."""
    matched = match_answers(path, examples, scored=scored)
    prompts = [prompt for prompt in examples if scored is None or prompt.id in scored]
    return fill_answers(matched, prompts, allow_missing=allow_missing)


EXAMPLES = [prompt("1", "Write one."), prompt("2", "Write two."), prompt("x/3", "Write three.\n")]
ALL = {"1": Answer("a"), "2": Answer("b"), "x/3": Answer("c")}
ROWS: list[dict[str, Any]] = [
    {"id": "1", "response": "a"},
    {"id": 2, "response": "b"},
    {"id": "x/3", "response": "c"},
]


def lines(rows: Sequence[Any]) -> str:
    """One JSON value a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def stored(folder: Path, content: str | bytes, name: str = "given.jsonl") -> Path:
    """A file with the content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tree(example: Prompt, *responses: str, selected: int | None = 0) -> SearchTree:
    """A search whose nodes are drafts, each of which cost a part of `TREE_USAGE`."""
    nodes = tuple(
        Node(id=i, parent=None, depth=0, response=text, usage=TREE_USAGE)
        for i, text in enumerate(responses)
    )
    return SearchTree(
        prompt=example,
        strategy="greedy",
        config="0",
        nodes=nodes,
        selected=selected,
        stop="exhausted",
    )


def run_directory(folder: Path, trees: Sequence[SearchTree], torn: str = "") -> Path:
    """A run directory, the last line of which may be torn."""
    folder.mkdir()
    stored(folder, "".join(t.to_json() + "\n" for t in trees) + torn, "trees.jsonl")
    stored(folder, "{}", "run.json")
    return folder


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        ROWS[::-1],
        [{"key": row["id"], "output": row["response"]} for row in ROWS],
        [
            {"prompt": example.messages[0].content, "completion": row["response"]}
            for example, row in zip(EXAMPLES, ROWS, strict=True)
        ],
        [
            {"prompt": f"  {example.messages[0].content.strip()}\n", "answer": row["response"]}
            for example, row in zip(EXAMPLES, ROWS, strict=True)
        ],
        [
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": example.messages[0].content},
                    {"role": "assistant", "content": "..."},
                ],
                "judgement": row["response"],
            }
            for example, row in zip(EXAMPLES, ROWS, strict=True)
        ],
        [
            {"prompt": [{"role": "user", "content": e.messages[0].content}], "judgment": r}
            for e, r in zip(EXAMPLES, "abc", strict=True)
        ],
        [
            {"id": f"other-{i}", "prompt": e.messages[0].content, "response": r}
            for i, (e, r) in enumerate(zip(EXAMPLES, "abc", strict=True))
        ],
        [
            {"doc_id": i, "doc": {"key": e.id, "prompt": "changed"}, "filtered_resps": [r]}
            for i, (e, r) in enumerate(zip(EXAMPLES, "abc", strict=True))
        ],
        [
            {"doc_id": i, "doc": {"prompt": e.messages[0].content}, "resps": [[r]]}
            for i, (e, r) in enumerate(zip(EXAMPLES, "abc", strict=True))
        ],
        [{**row, "output": "not this one", "prompt": "an older wording"} for row in ROWS],
        [tree(e, r).model_dump() for e, r in zip(EXAMPLES, "abc", strict=True)],
    ],
    ids=[
        "id",
        "any order",
        "key and output",
        "prompt and completion",
        "trimmed prompt and answer",
        "messages and judgement",
        "prompt as messages and judgment",
        "another id beside the prompt",
        "filtered samples of lm-eval",
        "samples of lm-eval",
        "id before prompt, response before output",
        "lines of trees",
    ],
)
@pytest.mark.parametrize("as_list", [False, True], ids=["lines", "list"])
def test_rows_of_a_file(tmp_path: Path, rows: list[dict[str, Any]], as_list: bool) -> None:
    """Each form of row finds its example, a line or an item of a list alike."""
    path = stored(tmp_path, json.dumps(rows, indent=1) if as_list else lines(rows))
    found = read_responses(path, EXAMPLES)
    assert {id_: answer.text for id_, answer in found.items()} == {"1": "a", "2": "b", "x/3": "c"}
    assert [*found] == ["1", "2", "x/3"]


def test_samples_of_a_task_with_several_filters(tmp_path: Path) -> None:
    """One answer a document, as it came: what a filter of lm-eval's read out of it is no response."""
    rows = [
        {
            "doc": {"question": example.messages[0].content},
            "resps": [[f"So it is {reply}."]],
            "filtered_resps": [reply],
            "filter": name,
        }
        for name in ("strict-match", "flexible-extract")
        for example, reply in zip(EXAMPLES, "abc", strict=True)
    ]
    found = read_responses(stored(tmp_path, lines(rows)), EXAMPLES)
    texts = [answer.text for answer in found.values()]
    assert texts == ["So it is a.", "So it is b.", "So it is c."]


def test_samples_that_a_filter_chose_among(tmp_path: Path) -> None:
    """Of several responses the one that lm-eval scored; another response to the same document is a second row."""
    row = {"id": "1", "resps": [["x", "y"]], "filtered_resps": ["y"], "filter": "first"}
    path = stored(tmp_path, lines([row]))
    assert read_responses(path, EXAMPLES[:1])["1"].text == "y"
    other = {**row, "resps": [["z"]], "filter": "second"}
    with pytest.raises(UsageError, match="a second row for '1'"):
        read_responses(stored(tmp_path, lines([row, other])), EXAMPLES[:1])


def test_spare_lines_and_marks(tmp_path: Path) -> None:
    """Blank lines, Windows line ends and a byte order mark are no part of a row."""
    content = b"\xef\xbb\xbf\r\n" + lines(ROWS).replace("\n", "\r\n\r\n").encode()
    assert read_responses(stored(tmp_path, content), EXAMPLES) == ALL


def test_null_is_unanswered(tmp_path: Path) -> None:
    """null, logged by lm-eval or not, is an example without an answer; a blank text is an answer."""
    rows = [
        {"id": "1", "response": None},
        {"id": "2", "filtered_resps": [None]},
        {"id": "x/3", "response": ""},
    ]
    found = read_responses(stored(tmp_path, lines(rows)), EXAMPLES)
    assert [answer.text for answer in found.values()] == [None, None, ""]


def test_any_python_string_is_an_answer(tmp_path: Path) -> None:
    """A lone surrogate and terminal codes come through untouched."""
    text = "\ud800 \x1b[31m \u2028 \x00"
    path = stored(tmp_path, lines([{"id": "1", "response": text}]))
    assert read_responses(path, EXAMPLES[:1])["1"].text == text


def test_run_directory(tmp_path: Path) -> None:
    """A run's trees give selected answers, what they cost, and None where every draft failed."""
    trees = [
        tree(EXAMPLES[0], "a", "better", selected=1),
        tree(EXAMPLES[1], selected=None),
        tree(prompt("000003-abcd", "Write three.\n"), "c"),
    ]
    path = run_directory(tmp_path / "run", trees)
    expected = {
        "1": Answer("better", TREE_USAGE + TREE_USAGE),
        "2": Answer(None),
        "x/3": Answer("c", TREE_USAGE),
    }
    assert read_responses(path, EXAMPLES) == expected
    assert read_responses(path / "trees.jsonl", EXAMPLES) == expected


def test_torn_last_line_of_a_live_run(tmp_path: Path) -> None:
    """A run that is being written can be read; the torn tree is a missing one."""
    path = run_directory(tmp_path / "run", [tree(EXAMPLES[0], "a")], torn='{"prompt": {"id')
    found = read_responses(path, EXAMPLES, allow_missing=True)
    assert [answer.text for answer in found.values()] == ["a", None, None]


def test_folder_of_files(tmp_path: Path) -> None:
    """All .jsonl and .json files of a folder are read together, and nothing else."""
    stored(tmp_path, lines(ROWS[:1]), "b.jsonl")
    stored(tmp_path, json.dumps(ROWS[1:]), "a.json")
    stored(tmp_path, "no row", "notes.txt")
    assert read_responses(tmp_path, EXAMPLES) == ALL


def test_finished_evaluation(tmp_path: Path) -> None:
    """An evaluation of given answers has no trees of its own: its examples are read."""
    scored = [
        Example(id=e.id, response=r, passed=True) for e, r in zip(EXAMPLES, "abc", strict=True)
    ]
    write_examples(tmp_path, scored)
    stored(tmp_path, "{}", "results.json")
    stored(tmp_path, "", "trees.jsonl")
    assert read_responses(tmp_path, EXAMPLES) == ALL


def test_scored_part(tmp_path: Path) -> None:
    """A file for all examples serves a part of them; a file for that part does not need the rest."""
    for rows in (ROWS, ROWS[1:2]):
        path = stored(tmp_path, lines(rows))
        assert read_responses(path, EXAMPLES, scored=frozenset({"2"})) == {"2": Answer("b")}
    with pytest.raises(UsageError, match="examples without a row, 1: '1'"):
        read_responses(path, EXAMPLES, scored=frozenset({"1", "2"}))


def test_shared_prompt_with_ids(tmp_path: Path) -> None:
    """Two examples with one text are told apart by id, whether or not the row has the text."""
    twins = [prompt("a", "Same."), prompt("b", "Same.")]
    rows = [{"id": "b", "prompt": "Same.", "response": "B"}, {"id": "a", "response": "A"}]
    found = read_responses(stored(tmp_path, lines(rows)), twins)
    assert found == {"a": Answer("A"), "b": Answer("B")}


TWINS = [prompt("a", "Same."), prompt("b", "Same. "), prompt("c", "Other.")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["holds no row"]),
        ("\n \n", ["holds no row"]),
        ("[]", ["holds no row"]),
        (b'{"id": "a", "response": "\xff"}', ["0xff at byte 26"]),
        ('{"id": "a", "response": "r"}\n{"id": "b"', [":2: not JSON", '{"id": "b"']),
        ('{"id": "a"\n,"response" 1}', ["not JSON at line 2, column 13"]),
        ('{"id": "a"\n,"response": 1}', [", row 1: 'response' is 1"]),
        ('{"rows": [{"id": "a", "response": "r"}]}', ['pass the list in "rows" alone']),
        ("[" * 100_000, ["not JSON"]),
        ("text", [":1: not JSON at column 1: text"]),
        ("5", [":1: 5; accepted: one JSON object"]),
        ("[5]", ["row 1: 5; accepted: a JSON object"]),
        ('{"response": "r"}', [":1: a row with ['response']", "'id' or 'key'", "'prompt'"]),
        ('{"id": "a"}', [":1: no response", "['id']", "response, output, completion, prediction"]),
        ('{"id": "a", "text": "r"}', [":1: no response"]),
        ('{"id": "a", "response": 5}', ["'response' is 5", "a string, or null"]),
        ('{"id": "a", "response": ["r"]}', ["'response' is ['r']"]),
        ('{"id": "a", "resps": [["r", "s"]]}', ["'resps' holds 2 responses"]),
        ('{"id": "a", "filtered_resps": []}', ["'filtered_resps' holds 0 responses"]),
        ('{"id": 1.5, "response": "r"}', ["'id' is 1.5", "or an integer"]),
        ('{"key": true, "response": "r"}', ["'key' is True"]),
        ('{"id": "", "response": "r"}', ["'id' is ''"]),
        ('{"prompt": {}, "response": "r"}', ["'prompt' is {}"]),
        ('{"messages": [], "response": "r"}', ["'messages' is []"]),
        ('{"messages": [{"role": "user", "content": 5}], "response": "r"}', ["has the content 5"]),
        ('{"nodes": [], "prompt": {"id": "a"}}', ["not a search tree"]),
        (
            '{"id": "a", "response": "r"}\n{"id": "c", "response": "r"}\n{"id": "a", "response": "r"}',
            [":3: a second row for 'a'", ":1;", "one row an example"],
        ),
        ('{"prompt": " Same.", "response": "r"}', ["that of 2 examples ('a', 'b')", "'id'"]),
        ('{"id": "c", "prompt": "Same.", "response": "r"}', ["two examples, 'c' and 'a'"]),
        ('{"id": "c", "key": "a", "response": "r"}', ["two examples, 'c' and 'a'"]),
    ],
)
def test_wrong_files(tmp_path: Path, content: str | bytes, words: list[str]) -> None:
    """Each mistake is one line with exit code 2 that names the file and what was found."""
    path = stored(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        match_answers(path, TWINS)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    assert all(word in message for word in words), message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("allow_missing", [False, True])
def test_unmatched(tmp_path: Path, allow_missing: bool) -> None:
    """Rows and examples that match nothing are listed and refused, unless they are allowed."""
    rows = [ROWS[0], {"id": 77, "response": "r"}, {"prompt": "Write\x1b two?", "response": "r"}]
    path = stored(tmp_path, lines(rows))
    if allow_missing:
        found = read_responses(path, EXAMPLES, allow_missing=True)
        assert found == {"1": Answer("a"), "2": Answer(None), "x/3": Answer(None)}
        return
    with pytest.raises(UsageError) as caught:
        read_responses(path, EXAMPLES)
    assert str(caught.value) == (
        f"{path}: rows that match no example, 2 of 3: given.jsonl:2 ('77'), "
        "given.jsonl:3 ('Write\\x1b two?'); "
        "examples without a row, 2: '2' ('Write two.'), 'x/3' ('Write three.\\n'); "
        "give each row its example's id (field 'id', 'key' or 'custom_id'), or use --allow-missing "
        "to leave out such rows and count such examples as unanswered"
    )


def test_report_of_what_is_unmatched(tmp_path: Path) -> None:
    """The report lists rows and examples without a match; it is empty if everything matches."""
    matched = match_answers(
        stored(tmp_path, lines([*ROWS[:2], {"id": 9, "answer": "r"}])), EXAMPLES
    )
    assert matched.missing == ("'x/3' ('Write three.\\n')",)
    assert matched.unknown == ("given.jsonl:3 ('9')",)
    assert "rows that match no example, 1 of 3" in matched.report()
    assert match_answers(stored(tmp_path, lines(ROWS)), EXAMPLES).report() == ""


def test_long_lists_are_cut(tmp_path: Path) -> None:
    """Five of many are listed, with how many more."""
    examples = [prompt(str(number), f"{number} " * 99) for number in range(40)]
    path = stored(tmp_path, lines([{"id": f"no-{i}", "response": ""} for i in range(7)]))
    with pytest.raises(UsageError) as caught:
        read_responses(path, examples)
    message = str(caught.value)
    assert "no example, 7 of 7: " in message
    assert "('no-4'), and 2 more" in message
    assert "a row, 40: " in message
    assert "and 35 more" in message
    assert "no-5" not in message


def test_no_such_path(tmp_path: Path) -> None:
    """A path where nothing is, and folders without answers, are named."""
    with pytest.raises(UsageError, match=r"there is no .*none"):
        read_responses(tmp_path / "none", EXAMPLES)
    with pytest.raises(UsageError, match=r"holds no trees\.jsonl and no file in \.jsonl or "):
        read_responses(tmp_path, EXAMPLES)
    stored(tmp_path, "{}", "run.json")
    with pytest.raises(UsageError, match=r"there is no file .*trees\.jsonl"):
        read_responses(tmp_path, EXAMPLES)
    stored(tmp_path, "", "trees.jsonl")
    with pytest.raises(UsageError, match="holds no row"):
        read_responses(tmp_path, EXAMPLES)


def test_prompt_twice_in_a_run(tmp_path: Path) -> None:
    """Two trees of one example are a mistake as two rows are."""
    trees = [tree(EXAMPLES[0], "a"), tree(prompt("other", "Write one."), "b")]
    with pytest.raises(UsageError, match=r"trees\.jsonl:2: a second row for '1'"):
        read_responses(run_directory(tmp_path / "run", trees), EXAMPLES)


@pytest.mark.data
def test_old_wording_of_key_2785(data_root: Path, tmp_path: Path) -> None:
    """Files of before June 2024 lose one IFEval prompt by text: the line names it, ids mend it."""
    raw = (data_root / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [prompt(str(row["key"]), row["prompt"]) for row in map(json.loads, raw)]
    old = [{"prompt": e.messages[0].content, "response": "r"} for e in examples]
    (at,) = (index for index, example in enumerate(examples) if example.id == "2785")
    old[at]["prompt"] = old[at]["prompt"].replace("at least 3 place", "at least one place")
    path = stored(tmp_path, lines(old))
    with pytest.raises(UsageError) as caught:
        read_responses(path, examples)
    assert "rows that match no example, 1 of 541" in str(caught.value)
    assert "examples without a row, 1: '2785' ('What is inside Shinto shrines?" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    found = read_responses(path, examples, allow_missing=True)
    assert [id_ for id_, answer in found.items() if answer.text is None] == ["2785"]
    for row, example in zip(old, examples, strict=True):
        row["key"] = example.id
    assert read_responses(stored(tmp_path, lines(old)), examples)["2785"] == Answer("r")


@given(
    st.lists(st.text(min_size=1), min_size=1, max_size=6, unique_by=str.strip),
    st.randoms(use_true_random=False),
)
def test_every_prompt_finds_its_answer(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], shuffle: Any
) -> None:
    """Whatever the prompts are, rows in any order, by id or by text, give each its own answer."""
    examples = [prompt(f"id{number}", text) for number, text in enumerate(texts)]
    rows = [
        {"id": e.id, "response": e.id}
        if i % 2
        else {"prompt": e.messages[0].content, "output": e.id}
        for i, e in enumerate(examples)
    ]
    shuffle.shuffle(rows)
    path = stored(tmp_path_factory.mktemp("rows"), lines(rows))
    assert read_responses(path, examples) == {e.id: Answer(e.id) for e in examples}


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "1", "output": "o"}, {"id": 2, "outputs": ["p", "q"]}],
        [{"prompt": "Write one.", "judgement": "o"}, {"key": "2", "outputs": [["p"], "q"]}],
        [{"id": "1", "response": "an answer", "output": "o"}, {"id": 2, "resps": [["p", "q"]]}],
    ],
)
def test_judge_outputs(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """A judge's outputs, one or all attempts in order; not every example needs some."""
    found = read_grader_replies(stored(tmp_path, lines(rows)), EXAMPLES)
    assert found == {"1": ("o",), "2": ("p", "q")}


def test_judge_outputs_of_a_grading_stage(tmp_path: Path) -> None:
    """The trees of a grading stage give the responses of all their nodes, in order."""
    trees = [tree(EXAMPLES[1], "p", "q", selected=1), tree(EXAMPLES[0], selected=None)]
    found = read_grader_replies(run_directory(tmp_path / "grades", trees), EXAMPLES)
    assert found == {"2": ("p", "q"), "1": ()}


def test_no_judge_output(tmp_path: Path) -> None:
    """null and an empty list are examples that the judge said nothing about."""
    rows = [{"id": "1", "output": None}, {"id": "2", "outputs": []}]
    assert read_grader_replies(stored(tmp_path, lines(rows)), EXAMPLES) == {"1": (), "2": ()}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": "1", "outputs": ["o", 5]}, "'outputs' holds 5; accepted: a string"),
        ({"id": "1", "outputs": [[["o"]]]}, "'outputs' holds ['o']"),
        ({"id": "1", "verdict": "o"}, "no response in a row with ['id', 'verdict']"),
        ({"id": "9", "output": "o"}, "rows that match no example, 1 of 1: given.jsonl:1 ('9')"),
    ],
)
def test_wrong_judge_outputs(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    """Wrong and unknown rows of a judge's outputs are refused in one line."""
    with pytest.raises(UsageError) as caught:
        read_grader_replies(stored(tmp_path, lines([row])), EXAMPLES)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_judge_outputs_may_be_left_out(tmp_path: Path) -> None:
    """Rows of other examples are dropped where the person allows it."""
    rows = [{"id": "9", "output": "x"}, {"id": "1", "output": "o"}]
    path = stored(tmp_path, lines(rows))
    assert read_grader_replies(path, EXAMPLES, allow_missing=True) == {"1": ("o",)}


Reader = Callable[[Path, list[Prompt]], Any]


@pytest.mark.parametrize("read", [read_responses, read_grader_replies])
def test_deeply_nested_values_are_refused(tmp_path: Path, read: Reader) -> None:
    """A value nested to the limit of the parser is a mistake in a row, not a crash."""
    nested = "[" * 900 + "]" * 900
    path = stored(tmp_path, f'{{"id": "1", "response": {nested}}}')
    with pytest.raises(UsageError, match=":1: 'response'"):
        read(path, EXAMPLES)
