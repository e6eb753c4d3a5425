"""HumanEval: what is asked, what is read out of a reply, and verdicts of programs that really run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import Answer
from spar.eval.datasets.local import open_data
from spar.eval.humaneval.benchmark import FILE, STOPS, HumanEval
from spar.eval.humaneval.program import bodies, extract, solutions
from spar.eval.statistics import metrics
from spar.infer.engines.fake import FakeEngine
from spar.plugins import BENCHMARKS
from spar.record.evaluation import Scored
from spar.sandbox.sandbox import Limits, Program, run_program
from spar.train.specs import EvalItem, EvalStageSpec
from spar.types import Prompt, Usage
from spar.verification_functions import PERMISSION
from spar.worker import _evaluate_all
from tests.eval.memory import MemoryJobRunner, MemoryOutputs

HEAD = "from typing import List\n\n\ndef twice(n):\n    return n + n\n\n\n"
PROMPT = HEAD + 'def four(n: List[int]) -> int:\n    """Four times the first."""\n'
BODY = "    first = n[0]\n    return twice(twice(first))\n"
TEST = "def check(candidate):\n    assert candidate([3]) == 12\n    assert twice(1) == 2\n"
ALLOWED = HumanEval(allow_code_execution=True, limits=Limits(cpu_seconds=1, wall_seconds=10))


def example(name: str = "HumanEval/0") -> Prompt:
    meta = {"prompt": PROMPT, "entry_point": "four", "test": TEST}
    return Prompt.model_validate(
        {"id": name, "messages": [{"role": "user", "content": PROMPT}], "meta": meta}
    )


def score(**replies: str | None) -> Scored:
    examples = [example(name) for name in replies]
    usage = Usage(calls=1, completion_tokens=5)
    given = {name: Answer(text, usage) for name, text in replies.items()}
    return ALLOWED.score(examples, MemoryOutputs(external_answers=given))


def test_the_table_has_it() -> None:
    """The name stands for the class, which runs nothing unless told."""
    made = BENCHMARKS.spec("humaneval").open("humaneval", {})
    assert isinstance(made, HumanEval)
    assert not made.allow_code_execution and made.data == ("humaneval",)


def test_nothing_is_loaded_or_run_without_permission() -> None:
    """Both loading and scoring refuse in one line that names the flag, data or not."""
    for refused in (
        lambda: HumanEval().load(EvalConfig(data="/nowhere")),
        lambda: HumanEval().score([example()], MemoryOutputs(external_answers={})),
    ):
        with pytest.raises(UsageError, match="--allow-code-execution") as caught:
            refused()
        assert "\n" not in str(caught.value)


REPLIES = {
    "the whole prompt again": f"Sure!\n\n```python\n{PROMPT}{BODY}```\nIt adds.",
    "the function alone": f"```python\ndef four(n):\n{BODY}```",
    "no name of a language": f"```\ndef four(n):\n{BODY}```",
    "tildes": f"~~~py\ndef four(n):\n{BODY}~~~",
    "a fence never closed": f"```python\ndef four(n):\n{BODY}",
    "a block within a list": textwrap.indent(f"```python\ndef four(n):\n{BODY}```", "   "),
    "a block of usage after it": f"```python\ndef four(n):\n{BODY}```\n```python\nfour([1])\n```",
    "a wrong draft before it": f"```python\ndef four(n):\n    pass\n```\n```\ndef four(n):\n{BODY}```",
    "a helper of its own": "```python\ndef help(n):\n    return 4 * n[0]\n\n\ndef four(n):\n    return help(n)\n```",
    "no fence": f"def four(n):\n{BODY}",
    "sentences around": f"Here is the function.\n\ndef four(n):\n{BODY}\nExplanation: it adds twice.",
    "a sentence like a call": f"def four(n):\n{BODY}\nExplanation (short): it adds twice.",
    "a sentence like a loop": f"def four(n):\n{BODY}\nfor [3] it gives 12: see above.",
    "a call, then a sentence like one": f"def four(n):\n{BODY}\nfour([1])\nOutput (in short): 4\n",
    "a sentence like a call, then a call": f"def four(n):\n{BODY}\nUsage (in short):\nfour([1])\n",
    "a helper behind a call": "def four(n):\n    return help(n)\n\nprint(1)\n\ndef help(n):\n    return 4 * n[0]\n\nNote (short): done.",
    "a decorated helper behind an assert": "def four(n):\n    return help(n)\n\nassert callable(four)\n\n@staticmethod\ndef help(n):\n    return 4 * n[0]\n",
    "an import before": "Here:\nimport math\n\ndef four(n):\n    return math.prod((4, n[0]))\n\nDone.",
    "a guarded call after": f"def four(n):\n{BODY}\nif __name__ == '__main__':\n    print(four([1]))\n",
    "a comment that names it": f"# def four(n): below\ndef four(n):\n{BODY}",
    "the body as it is": BODY,
    "the body stripped": BODY.strip(),
    "the body from the margin": textwrap.dedent(BODY),
    "the body in a block": f"The body:\n```python\n{textwrap.dedent(BODY)}```",
    "a stripped loop": "for x in n:\n        return 4 * x\n    return 0",
    "a loop from the margin": "for x in n:\n    return 4 * x\nreturn 0",
    "one line": "return 4 * n[0]",
    "a constant before": "TIMES = 4\n\ndef four(n):\n    return TIMES * n[0]\n",
    "constants behind a sentence": "Here it is:\n\nTIMES: int = 4\nONCE = [\n    1,\n]\n\ndef four(n):\n    return TIMES * n[0] * ONCE[0]\n\nDone.",
    "a constant behind a sentence like one": "Note: let n = 4.\nTIMES = 4\n\ndef four(n):\n    return TIMES * n[0]\n",
    "an example before": f"result = four([2])  # 8\n\ndef four(n):\n{BODY}",
    "a remark before": f"Complexity = O(1)\n\ndef four(n):\n{BODY}",
    "a word before": f"Answer = below\ndef four(n):\n{BODY}",
    "constants of constants": "TIMES = max(2, 4)\nALL = [TIMES * k for k in (1, 1)]\n\ndef four(n):\n    return ALL[1] * n[0]\n",
    "a sentence like a constant": f"Result = as follows:\n\ndef four(n):\n{BODY}",
    "the body, then a sentence": f"{BODY}\nThis adds twice.",
    "the stripped body, then sentences": f"{BODY.strip()}\n\nThis adds.\nfour([3]) is 12.",
    "a sentence, then the body": f"The body:\n\n{BODY}",
    "the body between sentences": f"The body:\n\n{BODY}\nThis adds twice.",
    "a quoted block": textwrap.indent(f"```python\ndef four(n):\n{BODY}```", "> ", lambda _: True),
    "a quoted function": textwrap.indent(f"def four(n):\n{BODY}", "> "),
    "Windows line ends": f"```python\ndef four(n):\n{BODY}```".replace("\n", "\r\n"),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
def test_replies_of_many_shapes_pass(reply: str) -> None:
    """Whatever the shape, the function in it is found and passes, tests of the prompt's helper too."""
    program = Program(tuple(solutions(PROMPT, reply, "four")), f"{TEST}\ncheck(four)")
    outcome = run_program(program, ALLOWED.limits)
    assert outcome.passed, (outcome, program.readings)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (
            "```python\ndef four(n):\n    return 3\n```",
            "AssertionError: assert candidate([3]) == 12",
        ),
        ("I cannot do that.", "IndentationError"),
        ("", "AssertionError: assert candidate([3]) == 12"),
        ("```python\ndef fore(n):\n    return 12\n```", "AssertionError"),
        (
            f"def four(n):\n{BODY}\nassert four([3]) == 13\n",
            "AssertionError: assert four([3]) == 13",
        ),
        (
            f"```python\ndef four(n):\n{BODY}\nExplanation (short): it adds.\n```",
            "SyntaxError: illegal target",
        ),
        (
            "```python\nimport os; os._exit(0)\ndef four(n):\n    return 1\n```",
            "exited with 0 before",
        ),
        ("```python\nraise SystemExit\ndef four(n):\n    return 1\n```", "SystemExit"),
        ("```python\ndef four(n):\n    while True: pass\n```", "timed out after 1 s"),
        ("```python\ndef four(n):\n    return [0] * 10**10\n```", "out of memory"),
        (
            "```python\ndef four(n):\n    import os; os.system('true')\n```",
            "blocked: Blocked: os.sys",
        ),
        ("```python\ndef check(f): pass\ndef four(n): pass\n```", "AssertionError"),
    ],
)
def test_replies_that_fail_say_why(reply: str, why: str) -> None:
    """A wrong, empty, endless, greedy, fleeing or forbidden reply fails, and the verdict says how."""
    (scored,) = score(a=reply).examples
    (verdict,) = scored.verdicts
    assert (scored.passed, verdict.passed, scored.scores) == (False, False, {"pass@1": (0.0, 1.0)})
    if why != "IndentationError":
        assert verdict.why.startswith(why)
    else:
        assert verdict.why.split(":")[0] in ("IndentationError", "SyntaxError")


def test_totals_by_hand() -> None:
    """One of four passes: pass@1 is 1/4, its error sqrt(1/4 * 3/4 / 3); what went wrong is counted."""
    scored = score(a=BODY, b="return 3", c="while True: pass", d=None)
    assert [one.passed for one in scored.examples] == [True, False, False, False]
    assert scored.counts == {"unanswered": 1, "timed_out": 1, "out_of_memory": 0, "blocked": 0}
    found = metrics(scored)["pass@1"]
    assert (found.value, found.n) == (0.25, 4)
    assert found.stderr == pytest.approx(0.25)
    assert scored.examples[0].usage == Usage(calls=1, completion_tokens=5)
    assert scored.examples[0].facts == {"entry_point": "four", "ended": "passed"}
    assert scored.examples[3].verdicts[0].why == "no answer"
    assert len(scored.notes) == 1 and "child processes" in scored.notes[0]


def test_nothing_answered_is_zero() -> None:
    """Without an answer no program runs, and the metric is 0 of all."""
    scored = ALLOWED.score([example()], MemoryOutputs(external_answers={}))
    assert metrics(scored)["pass@1"].value == 0.0
    assert (scored.counts["unanswered"], scored.notes) == (1, ())


def test_the_code_of_a_reply() -> None:
    """The last block with the function, else the last block, else the text."""
    assert extract("```\na\n```\n```\nb\n```", "f") == "b\n"
    assert extract("```\ndef f(): 1\n```\n```\nb\n```", "f") == "def f(): 1\n"
    assert extract("just words", "f") == "just words"
    assert extract("```\ndef f2(): 1\n```\n```\nb\n```", "f") == "b\n"


def test_readings_of_a_text_without_blocks_are_bounded() -> None:
    """However many lines may be sentences; the whole text comes first, and code before the function is never cut."""
    calls = "".join(f"call({n})\n" for n in range(100))
    first, *cut = solutions(PROMPT, f"import math\nmath.prod([1])\ndef four(n): 1\n{calls}", "four")
    assert first.endswith("call(99)\n") and len(cut) == 16
    assert [one.count("\ncall(") for one in cut] == [*range(15, -1, -1)]
    assert all("math.prod([1])\ndef four(n): 1" in one for one in cut)


def test_readings_of_a_body() -> None:
    """An indented body stands as it is; else its first line alone, or all of it, goes in."""
    assert bodies("\n  a\n  b") == ["  a\n  b"]
    assert bodies("a\n    b") == ["    a\n    b", "    a\n        b"]


@pytest.mark.usefixtures("one_row")
async def test_a_chat_model_is_asked_for_a_block() -> None:
    """The request holds the function in a block; the reply goes through the strategy and is scored."""
    config = EvalConfig(benchmark="humaneval", strategy="best-of-n", budget=2, votes=1)
    (prompt,) = ALLOWED.load(config)
    assert f"```python\n{PROMPT.rstrip()}\n```" in prompt.messages[0].content
    assert (prompt.id, sorted(prompt.meta)) == ("HumanEval/0", ["entry_point", "prompt", "test"])

    def reply(request: Any) -> str:
        asked = request.messages[-1].content
        return "Final Judgement: Yes" if "Judgement" in asked else f"```python\n{PROMPT}{BODY}```"

    engine = FakeEngine(reply)
    runner = MemoryJobRunner(config, engine)
    await ALLOWED.respond(runner, [prompt])
    await ALLOWED.grade(runner, [prompt])
    assert not any(request.plain or request.sampling.stop for request in engine.requests)
    scored = ALLOWED.score([prompt], runner.outputs)
    assert metrics(scored)["pass@1"].value == 1.0
    assert scored.examples[0].usage.calls == len(engine.requests)


@pytest.mark.usefixtures("one_row")
async def test_a_plain_model_goes_on_where_the_prompt_stops() -> None:
    """The prompt is sent as it is, without a template, and the reply ends before the next statement."""
    config = EvalConfig(benchmark="humaneval", chat_template=False)
    (prompt,) = ALLOWED.load(config)
    assert prompt.messages[0].content == PROMPT
    engine = FakeEngine(lambda request: BODY + "\nprint(four([1]))\nthis is no Python")
    runner = MemoryJobRunner(config, engine)
    await ALLOWED.respond(runner, [prompt])
    (request,) = engine.requests
    assert request.plain and request.sampling.stop == STOPS and request.sampling.temperature == 0.0
    scored = ALLOWED.score([prompt], runner.outputs)
    assert scored.examples[0].response == BODY.rstrip()
    assert scored.examples[0].passed


@pytest.mark.usefixtures("one_row")
async def test_an_empty_completion_is_a_fault() -> None:
    """A plain model that says nothing leaves no answer, and the function counts as failed."""
    config = EvalConfig(benchmark="humaneval", chat_template=False)
    examples = ALLOWED.load(config)
    runner = MemoryJobRunner(config, FakeEngine(lambda request: "\n"))
    await ALLOWED.respond(runner, examples)
    scored = ALLOWED.score(examples, runner.outputs)
    assert (scored.counts["unanswered"], scored.examples[0].passed) == (1, False)


@pytest.fixture
def one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """One function in place of the data set."""
    row = {"task_id": "HumanEval/0", "prompt": PROMPT, "entry_point": "four", "test": TEST}

    class OneRow:
        def jsonl(self, relative: str) -> list[dict[str, str]]:
            assert relative == FILE
            return [{**row, "canonical_solution": BODY}]

    target = "spar.eval.humaneval.benchmark.open_data"
    monkeypatch.setattr(target, lambda name, data="": OneRow())


def _whole(row: dict[str, Any]) -> str:
    return f"Here it is:\n```python\n{row['prompt']}{row['canonical_solution']}```"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "share"),
    [
        (lambda row: row["canonical_solution"], 1.0),
        (lambda row: row["canonical_solution"].strip(), 1.0),
        (lambda row: textwrap.dedent(row["canonical_solution"]), 1.0),
        (_whole, 1.0),
        (lambda row: f"```python\n{row['prompt']}    return None\n```", 0.0),
    ],
    ids=["completed", "stripped", "from the margin", "in a block", "wrong"],
)
def test_all_functions(
    reply: Callable[[dict[str, Any]], str], share: float, data_root: Path
) -> None:
    """Every canonical solution passes in every shape, and none that gives back nothing does."""
    rows = open_data("humaneval", str(data_root)).jsonl(FILE)
    benchmark = HumanEval(allow_code_execution=True)
    examples = benchmark.load(EvalConfig(data=str(data_root)))
    given = {row["task_id"]: Answer(reply(row)) for row in rows}
    scored = benchmark.score(examples, MemoryOutputs(external_answers=given))
    assert [one.id for one in scored.examples] == [f"HumanEval/{n}" for n in range(164)]
    wrong = [one.id for one in scored.examples if one.passed != bool(share)]
    assert wrong == []
    assert metrics(scored)["pass@1"].value == share


@pytest.mark.data
async def test_a_loop_that_permits_code_evaluates_it(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permission of `spar train` reaches the evaluation; without it the item fails in the words of `spar eval`."""
    config = EvalConfig(engine="fake", data=str(data_root), limit=1, benchmark="humaneval")
    item = EvalItem(name="code", benchmark="humaneval", config=config)
    spec = EvalStageSpec(out=str(tmp_path / "eval"), items=(item,))
    monkeypatch.delenv(PERMISSION, raising=False)
    scores, (error,) = await _evaluate_all(spec)
    assert scores == {} and "--allow-code-execution" in str(error)
    monkeypatch.setenv(PERMISSION, "1")
    scores, errors = await _evaluate_all(spec)
    assert errors == [] and scores["code"]["pass@1"]["value"] == 0.0
