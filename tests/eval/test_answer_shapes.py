"""Answers and grades in the files of other tools: tables, OpenAI's outputs, FollowBench's own, with thinking."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.errors import UsageError
from spar.eval.benchmark import Answer
from spar.eval.external_answers.matching import match_answers, match_grader_replies
from spar.eval.followbench.benchmark import FollowBench
from spar.eval.followbench.judge import conversation, graded_answer
from spar.eval.refinement import Refinement
from spar.eval.runner import default_directory
from spar.run.keywords import eval_config
from spar.types import Message, Prompt


def prompt(id_: str, text: str, **meta: Any) -> Prompt:
    return Prompt(id=id_, messages=(Message(role="user", content=text),), meta=meta)


EXAMPLES = [prompt("1", "Write one."), prompt("x/3", "Write\u2028three.")]
TEXTS = {"1": "a,\r\nb", "x/3": "c\u2028d"}


def lines(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def texts(path: str | Path, examples: Sequence[Prompt] = EXAMPLES) -> dict[str, str | None]:
    """Id to text, where every row and every example has a match."""
    matched = match_answers(path, examples)
    matched.check()
    return {id_: answer.text for id_, answer in matched.by_example.items()}


def csv_text(separator: str) -> str:
    cell = '"{}"'.format
    rows = [("id", "response"), *((id_, cell(text)) for id_, text in TEXTS.items())]
    return "".join(separator.join(row) + "\r\n" for row in rows)


def write_parquet(path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    columns = {"id": [*TEXTS], "response": [*TEXTS.values()], "score": [None, 0.5]}
    parquet.write_table(pyarrow.table(columns), path)


ROWS = [{"id": id_, "response": text} for id_, text in TEXTS.items()]
FILES: dict[str, Callable[[Path], object]] = {
    "a.jsonl": lambda path: path.write_text("\ufeff" + lines(ROWS).replace("\n", "\r\n")),
    "a.ndjson": lambda path: path.write_text(lines(ROWS)),
    "a.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "a.csv": lambda path: path.write_bytes(("\ufeff" + csv_text(",")).encode()),
    "a.tsv": lambda path: path.write_bytes(csv_text("\t").encode()),
    "a.parquet": write_parquet,
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines(ROWS).encode())),
    "answers": lambda path: path.write_text(lines(ROWS)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_of_rows(name: str, tmp_path: Path) -> None:
    """Lists, tables, compressed files: line breaks and separators inside a text stay; so in a folder."""
    FILES[name](tmp_path / name)
    assert texts(tmp_path / name) == TEXTS
    if Path(name).suffix:
        assert texts(tmp_path) == TEXTS


def test_an_empty_cell_is_no_answer(tmp_path: Path) -> None:
    """A table has no value in an empty cell; one without any response is refused."""
    path = tmp_path / "a.csv"
    path.write_text("id,response\n1,a\nx/3,\n")
    assert texts(path) == {"1": "a", "x/3": None}
    path.write_text("id,score\n1,5\nx/3,4\n")
    with pytest.raises(UsageError, match="no row has a response; accepted: a field response"):
        match_answers(path, EXAMPLES)


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, **more}]}


def batch(id_: str, body: Any, status: int = 200) -> dict[str, Any]:
    """A line of the output file of OpenAI's batch interface."""
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": f"batch_req_{id_}", "custom_id": id_, "response": response, "error": None}


OPTIONS = [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}]


def output(*texts: str) -> dict[str, Any]:
    """A response of OpenAI's Responses API, with reasoning before its message."""
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    message = [{"type": "message", "role": "assistant", "content": content}] if texts else []
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    return {"object": "response", "status": "completed", "output": [thought, *message]}


def turns(example: Prompt, role: str, content: str) -> list[dict[str, Any]]:
    """A conversation that ends with the reply `r`: OpenAI's with content parts, or ShareGPT's."""
    names = ("developer", "user", "assistant") if role == "role" else ("system", "human", "gpt")
    text = example.messages[0].content
    parts = [{"type": "text", "text": text}] if role == "role" else text
    return [
        {role: name, content: said} for name, said in zip(names, ("s", parts, "r"), strict=True)
    ]


PARTS = [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "c"}]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([batch("1", chat("a")), batch("x/3", chat("c"))], ["a", "c"]),
        ([batch("1", {"error": "no"}, 500), batch("x/3", chat(PARTS))], [None, "c"]),
        ([batch("1", chat(None)), {"custom_id": "x/3", "response": None, "error": {}}], [None] * 2),
        ([batch("1", output("a", "b")), batch("x/3", output())], ["ab", None]),
        ([{"id": p.id, "choices": [{"turns": ["t"]}]} for p in EXAMPLES], ["t", "t"]),
        ([{"key": "1", **chat("a")}, {"id": "x/3", "choices": [{"text": "c"}]}], ["a", "c"]),
        ([{"custom_id": "1", "response": chat("a")}, batch("x/3", chat(""))], ["a", ""]),
        (
            [{"prompt_new": p.messages[0].content, **chat(p.id)} for p in EXAMPLES],
            ["1", "x/3"],
        ),
        ([{"task_id": p.id, "completion": "    return"} for p in EXAMPLES], ["    return"] * 2),
        ([{"question": p.messages[0].content, "output": "o"} for p in EXAMPLES], ["o", "o"]),
        ([{"instruction": p.messages[0].content, "output": "o"} for p in EXAMPLES], ["o", "o"]),
        ([{"messages": turns(p, "role", "content")} for p in EXAMPLES], ["r", "r"]),
        ([{"messages": turns(p, "role", "content"), "answer": "7"} for p in EXAMPLES], ["r", "r"]),
        ([{"id": p.id, "answer": "7", **chat("a")} for p in EXAMPLES], ["a", "a"]),
        ([{"id": p.id, "answer": "b", "choices": ["a", "b"]} for p in EXAMPLES], ["b", "b"]),
        ([{"id": p.id, "answer": "b", "choices": OPTIONS} for p in EXAMPLES], ["b", "b"]),
        ([{"id": p.id, "answer": "b", "choices": []} for p in EXAMPLES], ["b", "b"]),
        ([{"id": p.id, "answer": "7", "prediction": "8"} for p in EXAMPLES], ["8", "8"]),
        ([{"prompt": turns(p, "role", "content")} for p in EXAMPLES], ["r", "r"]),
        ([{"conversations": turns(p, "from", "value")} for p in EXAMPLES], ["r", "r"]),
    ],
    ids=[
        "batch",
        "failed",
        "null",
        "Responses API",
        "FastChat",
        "chat",
        "without body",
        "followbench",
        "humaneval",
        "q",
        "alpaca",
        "chat with reply",
        "chat with reply and gold",
        "output with gold",
        "choices of the question",
        "labelled choices",
        "no choices",
        "prediction with gold",
        "list in prompt",
        "sharegpt",
    ],
)
def test_outputs_of_other_tools(
    rows: list[dict[str, Any]], expected: list[str | None], tmp_path: Path
) -> None:
    """OpenAI's batch and chat outputs, and the samples of benchmarks' own scripts, score as they are."""
    (tmp_path / "a.jsonl").write_text(lines(rows))
    assert [*texts(tmp_path / "a.jsonl").values()] == expected


def test_a_data_set_of_the_hub_holds_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name reaches the hub as it was typed, with `hf://` and without."""
    sets = {"o/n": ROWS, "o/failing": [{"prompt": "Write.", "response": "r"}]}
    hub = SimpleNamespace(load_dataset=lambda name, config, split: {"train": sets[name]})
    monkeypatch.setitem(sys.modules, "datasets", hub)
    for source in ("hf://o/n", "o/n"):
        config = eval_config(None, {"responses": source, "benchmark": "ifeval"})
        assert texts(config.responses) == TEXTS
        assert default_directory(config).name.startswith("eval-greedy-")
        assert match_answers(source, EXAMPLES[:1]).report().startswith(f"{source}: rows that match")
    (failing,) = Refinement().load(eval_config(None, {"responses": "hf://o/failing"}))
    assert failing.meta["response"] == "r"


def test_alpacas_two_texts_are_one_prompt(tmp_path: Path) -> None:
    """A row's instruction and input are joined as `spar decode` joins them."""
    row = {"instruction": "Shorten this.", "input": "It rains and rains.", "output": "Rain."}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    example = prompt("1", "Shorten this.\nIt rains and rains.")
    assert texts(tmp_path / "a.json", [example]) == {"1": "Rain."}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": "1", "choices": []}, "'choices' holds 0 responses"),
        ({"id": "1", "choices": "a"}, "'choices' is 'a'; accepted: a list of choices"),
        ({"id": "1", **chat(5)}, "the content of a choice is 5"),
        ({"id": "1", "choices": chat("a")["choices"] * 2}, "'choices' holds 2 responses"),
        ({"id": "1", **chat([{"type": "text"}])}, "a part of a choice has the text"),
        ({"id": "1", **chat([{"type": "text", "text": None}])}, "a part of a choice has the text"),
    ],
)
def test_wrong_outputs(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    """What is no answer, or more than one, is refused in one line."""
    (tmp_path / "a.jsonl").write_text(lines([row]))
    with pytest.raises(UsageError) as caught:
        match_answers(tmp_path / "a.jsonl", EXAMPLES)
    assert words in str(caught.value)


def test_thinking_is_removed_and_counted(tmp_path: Path) -> None:
    """Closed thinking is stripped, unclosed leaves no answer; one line says how many rows there were."""
    rows = [
        {"id": "1", "response": "<think>\nwell\n</think>\n\na"},
        {"id": "x/3", "response": "<think>and then"},
    ]
    (tmp_path / "a.jsonl").write_text(lines(rows))
    matched = match_answers(tmp_path / "a.jsonl", EXAMPLES)
    assert matched.by_example == {"1": Answer("a"), "x/3": Answer(None)}
    assert "thinking was removed from 2 texts; in 1 it does not end" in matched.thinking_report()
    plain = [{"id": "1", "response": " a <think> b"}, {"id": "x/3", "response": "  c"}]
    (tmp_path / "a.jsonl").write_text(lines(plain))
    matched = match_answers(tmp_path / "a.jsonl", EXAMPLES)
    assert [a.text for a in matched.by_example.values()] == [" a <think> b", "  c"]
    assert matched.thinking_report() == ""


def test_thinking_of_a_judge_is_removed(tmp_path: Path) -> None:
    """Neither a draft of a verdict in the thinking nor an unfinished one is read."""
    rows = [
        {"id": "1", "outputs": ["<think>['NO']</think>['YES']", "<think>['NO']"]},
        {"id": "x/3", **chat("['YES']")},
    ]
    (tmp_path / "a.jsonl").write_text(lines(rows))
    matched = match_grader_replies(tmp_path / "a.jsonl", EXAMPLES)
    assert matched.by_example == {"1": ("['YES']", ""), "x/3": ("['YES']",)}
    assert "from 2 texts; in 1 it does not end" in matched.thinking_report()


def test_rows_match_by_the_bare_question(tmp_path: Path) -> None:
    """A benchmark names further texts of an example, and rows with one of them find it."""
    examples = [prompt("gsm8k/0", "Question: How many?\nAnswer:"), prompt("gsm8k/1", "Q: Who?")]
    rows = [{"question": "How many?", "response": "2"}, {"prompt": " Who? ", "response": "I"}]
    (tmp_path / "a.jsonl").write_text(lines(rows))
    bare = {"gsm8k/0": ("How many?",), "gsm8k/1": ("Who?",)}
    matched = match_answers(tmp_path / "a.jsonl", examples, row_texts=lambda p: bare[p.id])
    assert {id_: a.text for id_, a in matched.by_example.items()} == {
        "gsm8k/0": "2",
        "gsm8k/1": "I",
    }


PATH = ["Write.", "Write coolly.", "Write coolly, with #Answer of Initial Instruction + 9#."]
GRADED = [
    prompt(f"style/1/{level}", PATH[level], file="style", group=1, level=level, rule="judge")
    for level in (1, 2)
]
PUBLISHED = (
    "Given an initial instruction, we add one style constraint per time and obtain the final "
    "instruction with 2 additional constraints.\n\n#Initial Instruction#\nWrite.\n\n"
    "#Initial Instruction + 1 constraint#\nWrite coolly.\n\n"
    "#Initial Instruction + 2 constraints#\n{instruction}\n\n"
    "#Answer of Initial Instruction + 2 constraints#\n{answer}\n\n"
    "#System#\n1) Please identify all 2 added constraints.\n2) ...\n3) ..."
)


def published(answer: str, instruction: str = PATH[2]) -> str:
    return PUBLISHED.replace("{answer}", answer).replace("{instruction}", instruction)


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        (published("Ok."), {}, "style/1/2"),
        (published("Ok."), {"style/1/2": "Ok. "}, "style/1/2"),
        (published("Ok."), {"style/1/2": "<think>x</think>Ok."}, "style/1/2"),
        (published("Of another run."), {"style/1/2": "Ok."}, None),
        (
            published("Ok.", "An older wording."),
            {"style/1/1": "Ok.", "style/1/2": "Ok."},
            "style/1/2",
        ),
        (published("Ok.", "An older wording."), {}, None),
        (conversation("style", PATH[:2], "Ok.")[0].content, {}, "style/1/1"),
        (published("a\n\n#System#\n\n#Initial Instruction + 2 constraints#\nx"), {}, "style/1/2"),
        ("Write coolly", {}, None),
    ],
    ids=["new", "answer", "thinking", "other run", "older", "unknown", "own", "hostile", "no turn"],
)
def test_a_judges_turn_finds_its_example(
    text: str, answers: dict[str, str], expected: str | None
) -> None:
    """By the last instruction, else by answer and level; a turn about another answer belongs to no example."""
    stored = {id_: Answer(answer) for id_, answer in answers.items()}
    assert FollowBench().graded_example(text, GRADED, stored) == expected


def test_followbenchs_own_files(tmp_path: Path) -> None:
    """Its answers and its judge's outputs are read as its scripts write them."""
    rows = [{"prompt_new": published("Ok."), **chat("['YES', 'NO']")}]
    (tmp_path / "judged.jsonl").write_text(lines(rows))
    answers = {"style/1/2": Answer("Ok.")}
    matched = match_grader_replies(
        tmp_path / "judged.jsonl",
        GRADED,
        graded_example=lambda text: FollowBench().graded_example(text, GRADED, answers),
    )
    assert matched.by_example == {"style/1/2": ("['YES', 'NO']",)}
    graded = graded_answer(published("Ok."))
    assert graded is not None and (graded.level, graded.answer) == (2, "Ok.")
