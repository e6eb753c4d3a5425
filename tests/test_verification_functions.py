"""Functions that a model wrote: read, run in the sandbox, checked against test cases, and voting as a judge."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from spar import verification_functions
from spar.errors import UsageError
from spar.nano.constraints import CONSTRAINT_TYPES, sample_constraints
from spar.nano.function_teacher import FUNCTIONS, TASK, FlawRates, source_of, write_reply
from spar.plugins import JUDGES
from spar.sandbox.sandbox import Limits, Outcome, Program, run_program
from spar.types import Message, Prompt
from spar.verification_functions import (
    PERMISSION,
    Reply,
    Rule,
    cross_check,
    parse_reply,
    run_functions,
    verdicts,
)

NO_COMMA = "def evaluate(response):\n    return ',' not in response"
COMMA = "def evaluate(response):\n    return ',' in response"
RAISES = "def evaluate(response):\n    return 1 / 0"
ENDLESS = "def evaluate(response):\n    while True:\n        pass"


@pytest.fixture
def permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that a model wrote may run."""
    monkeypatch.setenv(PERMISSION, "1")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The programs that the sandbox is given from here on."""
    programs: list[Program] = []

    def run(program: Program, limits: Limits) -> Outcome:
        programs.append(program)
        return run_program(program, limits)

    monkeypatch.setattr(verification_functions, "run_program", run)
    return programs


def asked(constraint_type: str, kwargs: dict[str, Any], task: str, **more: Any) -> Prompt:
    """A prompt of the program that writes functions."""
    meta = {"constraint": {"id": constraint_type, "kwargs": kwargs}, TASK: task, **more}
    return Prompt(id="instruction-3", messages=(Message(role="user", content="?"),), meta=meta)


@pytest.mark.parametrize(
    ("text", "cases"),
    [
        (json.dumps({"function": COMMA, "cases": [{"input": "a, b", "output": True}]}), 1),
        (f"Here:\n```json\n{json.dumps({'function': COMMA, 'cases': 'none'})}\n```", 0),
        (
            json.dumps(
                {"function": COMMA, "cases": [{"input": 3, "output": True}, {"input": "a"}, 7]}
            ),
            0,
        ),
        (json.dumps({"function": "def check(response): ..."}), None),
        ('{"function": "def evaluate(', None),
        ("[1, 2]", None),
        ("", None),
    ],
)
def test_replies_of_a_model(text: str, cases: int | None) -> None:
    """A JSON object with the source and whole cases; anything else around it, or no such object, is not read."""
    reply = parse_reply(text)
    assert (None if reply is None else len(reply.cases)) == cases


def test_lines_that_reach_out_are_removed() -> None:
    """As in the source's code; the rest of the function stays."""
    source = "import requests\nimport re\ndef evaluate(response):\n    return True"
    reply = parse_reply(json.dumps({"function": source, "cases": []}))
    assert reply is not None and "requests" not in reply.function and "import re" in reply.function


def test_functions_run_apart() -> None:
    """One that raises has no result, and one that never ends costs the others nothing; lone surrogates reach them."""
    texts = ["a, b", "a\ud800"]
    found = run_functions([NO_COMMA, RAISES, "syntax error"], texts)
    assert found == [[False, True], [None, None], [None, None]]


@pytest.mark.slow
def test_an_endless_function_has_no_result() -> None:
    """Also where all functions are asked about one text together."""
    assert verdicts([NO_COMMA, ENDLESS], ["a"]) == [[True, None]]


def test_all_texts_and_all_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process, each with names of its own: what a function keeps does not reach the next text."""
    programs = counted(monkeypatch)
    counts = "n = 0\ndef evaluate(response):\n    global n\n    n += 1\n    return n > 1"
    found = verdicts([NO_COMMA, COMMA, RAISES, counts], ["a, b", "a"])
    assert found == [[False, True, None, False], [True, False, None, False]]
    assert len(programs) == 1


def test_a_text_on_which_a_function_ends_its_process_costs_the_others_nothing() -> None:
    """They have processes of their own then, and the other functions theirs."""
    ends = "import os\ndef evaluate(response):\n    if response == 'b':\n        os._exit(0)\n    return True"
    assert verdicts([COMMA, ends], ["a", "b", "c"]) == [[False, True], [False, None], [False, True]]


def test_functions_and_cases_check_each_other() -> None:
    """A case that no function agrees with is dropped, and a function that is wrong on too many of the others."""
    cases = (("a, b", False), ("a b", True), ("c", True), ("d, e", False))
    replies = [
        Reply(NO_COMMA, cases),
        Reply(COMMA, ()),
        Reply(RAISES, (("f", True),)),
        Reply(NO_COMMA, (("g", True),)),
    ]
    checked = cross_check(replies, Rule(min_accuracy=0.8, min_functions=1, min_cases=5))
    assert checked.functions == (NO_COMMA,)
    assert (checked.num_functions, checked.num_cases, checked.dropped_cases) == (3, 6, 0)
    strict = Rule(min_accuracy=0.8, min_functions=2, min_cases=5)
    assert cross_check(replies, strict).functions == ()
    only = [Reply(NO_COMMA, (("a", False),))]
    assert cross_check(only, Rule(0.5, 1, 1)).dropped_cases == 1


@pytest.mark.usefixtures("permitted")
def test_functions_vote() -> None:
    """One that raises has no verdict; a response passes by more than half of the others."""
    judge = JUDGES.spec("functions").make(None)
    prompt = Prompt(
        id="p",
        messages=(Message(role="user", content="Say a."),),
        meta={"verification_functions": [NO_COMMA, NO_COMMA + "\n", COMMA, RAISES]},
    )
    judgement, usage = asyncio.run(judge.judge(prompt, "a", lambda attempt: None))
    assert judgement.verdicts == (True, True, False, None)
    assert judgement.passed(0.5) and judgement.score == pytest.approx(2 / 3)
    assert usage.calls == 0 and judgement.critique.endswith("Final Judgement: Yes")
    with pytest.raises(UsageError, match="has no 'verification_functions'"):
        asyncio.run(judge.judge(prompt.model_copy(update={"meta": {}}), "a", lambda attempt: None))


def test_the_drafts_of_a_prompt_share_a_process(
    permitted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are judged at the same time; other functions have another one, and one that is given up costs no other."""
    programs, judge = counted(monkeypatch), JUDGES.spec("functions").make(None)

    def prompt(*functions: str) -> Prompt:
        message = Message(role="user", content="Say a.")
        return Prompt(id="p", messages=(message,), meta={"verification_functions": functions})

    async def judge_all() -> list[tuple[bool | None, ...]]:
        left, *asked = (
            asyncio.create_task(judge.judge(prompt(*functions), response, lambda attempt: None))
            for functions, response in (
                ((COMMA,), "given up"),
                ((COMMA,), "a, b"),
                ((COMMA,), "a"),
                ((NO_COMMA, RAISES), "a"),
            )
        )
        await asyncio.sleep(0)
        left.cancel()
        return [judgement.verdicts for judgement, _ in await asyncio.gather(*asked)]

    assert asyncio.run(judge_all()) == [(True,), (False,), (True, None)]
    assert len(programs) == 2
    monkeypatch.delenv(PERMISSION)
    with pytest.raises(UsageError, match="allow it with"):
        asyncio.run(judge_all())


def test_nothing_runs_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a judgement nor the check before a run."""
    monkeypatch.delenv(PERMISSION, raising=False)
    check = JUDGES.spec("functions").check_prompts
    assert check is not None
    with pytest.raises(UsageError, match="--allow-code-execution"):
        check([])


@pytest.mark.parametrize("name", CONSTRAINT_TYPES)
def test_the_program_knows_every_constraint(name: str) -> None:
    """Its right function agrees with the verifier on the cases that it writes; its wrong one does not on some."""
    rng = random.Random(f"teacher/{name}")
    kwargs = CONSTRAINT_TYPES[name].sample(rng, ["fox", "owl", "boat", "kite"])
    rates = FlawRates(0, 0, 0, 0)
    replies = [
        parse_reply(write_reply(asked(name, kwargs, "function"), index, rates))
        for index in range(4)
    ]
    cases = [case for reply in replies if reply for case in reply.cases]
    right, wrong = run_functions(
        [source_of(each, kwargs) for each in FUNCTIONS[name]], [text for text, _ in cases]
    )
    assert right == [expected for _, expected in cases]
    assert wrong != right and {True, False} == {expected for _, expected in cases}


def test_the_program_describes_its_functions_again() -> None:
    """In the constraint's words, but for a planned share; the comparison tells these apart."""
    (constraint,) = sample_constraints(random.Random(1), 1)
    prompt = asked(constraint.id, constraint.kwargs, "instruction")
    right = write_reply(prompt, 0, FlawRates(wrong_instruction=0))
    wrong = write_reply(prompt, 0, FlawRates(wrong_instruction=1))
    wordings = CONSTRAINT_TYPES[constraint.id].wordings(constraint.kwargs)
    assert right in wordings and wrong not in wordings
    for again, verdict in ((right, "Yes"), (wrong, "No")):
        compared = asked(constraint.id, constraint.kwargs, "comparison", again=again)
        assert write_reply(compared, 0) == f"Final Judgement: {verdict}"
