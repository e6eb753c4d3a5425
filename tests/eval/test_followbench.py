"""FollowBench as a whole: its requests, and every aggregate against hand-computed values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import ANSWERS, GRADES, Answer
from spar.eval.followbench.benchmark import FollowBench
from spar.eval.statistics import metrics
from spar.record.evaluation import Example, Metric, Scored
from spar.run.job import Job
from spar.types import Message, Prompt, SearchTree, Usage


@dataclass(frozen=True, slots=True)
class FakeOutputs:
    """Answers and outputs out of two tables."""

    texts: Mapping[str, str | None]
    """Prompt id to answer."""
    external_grades: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prompt id to what the judge wrote."""
    directory: Path | None = None

    def trees(self, job: str) -> Iterable[SearchTree]:
        """None."""
        return ()

    def answers(self, job: str = ANSWERS) -> Mapping[str, Answer]:
        """As the table says, at a call each."""
        assert job == ANSWERS
        return {name: Answer(text, Usage(calls=1)) for name, text in self.texts.items()}

    def grader_replies(self, job: str = GRADES) -> Mapping[str, tuple[str, ...]]:
        """As the table says."""
        assert job == GRADES
        return self.external_grades


@dataclass(slots=True)
class FakeJobRunner:
    """Records which jobs are run."""

    outputs: FakeOutputs
    config: EvalConfig = EvalConfig()
    ran: list[Job] = field(default_factory=list)

    async def run(self, job: Job) -> None:
        """Record it."""
        self.ran.append(job)


def row(file: str, group: int, level: int, rule: str = "", target: str = "") -> Prompt:
    """A scored row; the judge's, unless it has a rule."""
    path = [f"I{number}" for number in range(level + 1)] if not rule else []
    return Prompt(
        id=f"{file}/{group}/{level}",
        messages=(Message(role="user", content=f"I{level}"),),
        source="followbench",
        meta={"file": file, "group": group, "level": level, "rule": rule, "path": path}
        | {"target": target, "source": "x", "category": file},
    )


ROWS = [
    *(row("content", 1, level) for level in range(1, 6)),
    *(row("content", 14, level, "E2E", "right") for level in range(1, 6)),
    *(row("example", 7, level, "example", "{answer}") for level in range(1, 6)),
]


def test_a_limit_takes_a_group_of_each_file_in_turn() -> None:
    """Its levels stay together."""
    rows = [row(file, group, level) for file in "ab" for group in (1, 2) for level in range(1, 6)]
    groups = [(each.meta["file"], each.meta["group"]) for each in FollowBench().limited(rows, 12)]
    assert groups == [*[("a", 1)] * 5, *[("b", 1)] * 5, *[("a", 2)] * 2]
    assert FollowBench().limited(rows, None) == rows


TEXTS: dict[str, str | None] = {
    **{f"content/1/{level}": f"answer {level}" for level in range(1, 6)},
    **{f"content/14/{level}": "wrong" if level == 4 else "right" for level in range(1, 6)},
    **{f"example/7/{level}": "two\nlines" if level == 2 else "one" for level in range(1, 6)},
}
OUTPUTS = {
    "content/1/1": ("['YES']",),
    "content/1/2": ("?", "['YES', 'NO']"),
    "content/1/3": ("['YES', 'YES', 'YES']", "['NO', 'NO', 'NO']"),
    "content/1/4": ("['NO', 'PARTIAL', 'MAYBE', 'N/A']",),
    "content/1/5": ("['YES', 'YES', 'YES', 'YES', 'NO']",),
}
"""Soft 1, 1/2, 1, 0, 4/5 and hard 1, 0, 1, 0, 0 beside the rule's 1, 1, 1, 0, 1; example: 1, 0, 1, 1, 1."""


def score(
    rows: list[Prompt] = ROWS,
    texts: Mapping[str, str | None] = TEXTS,
    replies: Mapping[str, tuple[str, ...]] = OUTPUTS,
    *,
    official_scoring: bool = False,
) -> tuple[Scored, dict[str, Metric]]:
    """What the benchmark makes of tables, and the totals."""
    scored = FollowBench(official_scoring=official_scoring).score(rows, FakeOutputs(texts, replies))
    return scored, metrics(scored)


def changed(name: str, *replies: str) -> dict[str, tuple[str, ...]]:
    """The outputs with those of one row replaced."""
    return {**OUTPUTS, name: replies}


def example_of(scored: Scored, name: str) -> Example:
    """The result of a row."""
    return next(example for example in scored.examples if example.id == name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *zip((f"ssr/content/{level}" for level in range(1, 6)), (1, 0.75, 1, 0, 0.9), strict=True),
        *zip((f"hsr/content/{level}" for level in range(1, 6)), (1, 0.5, 1, 0, 0.5), strict=True),
        *zip((f"ssr/example/{level}" for level in range(1, 6)), (1, 0, 1, 1, 1), strict=True),
        *zip((f"hsr/example/{level}" for level in range(1, 6)), (1, 0, 1, 1, 1), strict=True),
        *zip((f"ssr_level_{level}" for level in range(1, 6)), (1, 0.375, 1, 0.5, 0.95), strict=True),
        *zip((f"hsr_level_{level}" for level in range(1, 6)), (1, 0.25, 1, 0.5, 0.75), strict=True),
        ("ssr_level_2/without_example", 0.75),
        ("hsr_level_5/without_example", 0.5),
        ("ssr_avg", 0.765),
        ("hsr_avg", 0.7),
        ("ssr_avg/without_example", 0.73),
        ("hsr_avg/without_example", 0.6),
        ("ssr/content", 0.73),
        ("hsr/content", 0.6),
        ("ssr/example", 0.8),
        ("csl/content", 2),
        ("csl/example", 1),
        ("csl", 1.5),
        ("csl/without_example", 2),
        ("ssr_weighted/content", 10 / 15),
        ("hsr_weighted/content", 7.5 / 15),
        ("ssr_weighted", 10 / 15),
        ("hsr_weighted", 7.5 / 15),
    ],
)  # fmt: skip
def test_every_aggregate(name: str, expected: float) -> None:
    """Rates, consecutive levels and means are those computed by hand from the table."""
    assert score()[1][name].value == pytest.approx(expected)


def test_all_files_count_alike() -> None:
    """A mean over files weighs each file once, however many groups it has."""
    rows = [*ROWS, *(row("mixed", 3, level, "text_editing", "x") for level in range(1, 6))]
    texts = {**TEXTS, **{f"mixed/3/{level}": "x" for level in range(1, 6)}}
    values = score(rows, texts)[1]
    assert values["ssr_level_2"].value == pytest.approx((0.75 + 0 + 1) / 3)
    assert values["ssr_level_2/without_example"].value == pytest.approx((0.75 + 1) / 2)
    assert values["csl"].value == pytest.approx((2 + 1 + 5) / 3)
    assert values["ssr_weighted"].value == pytest.approx((10 / 15 + 1) / 2)


def test_errors_go_by_group() -> None:
    """The standard error of a file's level is that of its groups; of CSL too."""
    values = score()[1]
    assert values["ssr/content/2"].stderr == pytest.approx(0.25)  # of 0.5 and 1
    assert values["csl/content"].stderr == pytest.approx(1)  # of 1 and 3
    # Means of a group's levels: 0.66 and 0.8, so the levels do not count as independent.
    assert values["ssr/content"].stderr == pytest.approx(0.07)
    assert (values["ssr/content/2"].n, values["csl/content"].n) == (2, 2)
    assert {example.group for example in score()[0].examples} == {
        "content/1",
        "content/14",
        "example/7",
    }


def test_headline_and_units() -> None:
    """The paper's number comes first, and lengths are marked as no fractions."""
    scored, values = score()
    assert next(iter(scored.means)) == "ssr_avg"
    lengths = {name for name in values if name.startswith("csl")}
    assert lengths and lengths <= set(scored.units)
    assert not any(name in scored.units for name in values if not name.startswith("csl"))


def test_records() -> None:
    """Each row has its answer, its cost, its verdicts and why."""
    scored, _ = score()
    assert [example.id for example in scored.examples] == [prompt.id for prompt in ROWS]
    judged = example_of(scored, "content/1/2")
    assert (judged.response, judged.passed, judged.usage.calls) == ("answer 2", False, 1)
    assert [(v.name, v.passed, v.why) for v in judged.verdicts] == [
        ("constraint 1", True, "the judge: YES"),
        ("constraint 2", False, "the judge: NO"),
    ]
    ruled = example_of(scored, "content/14/4")
    assert (ruled.passed, ruled.facts["rule"], ruled.facts["state"]) == (False, "E2E", "ruled")
    assert [(v.name, v.passed, v.why) for v in ruled.verdicts] == [
        ("E2E:1", False, "equals the target; target 'right'")
    ]
    assert example_of(scored, "content/14/5").passed is True


def test_counts() -> None:
    """What a reader must know is counted."""
    assert score()[0].counts == {
        "judged": 5,
        "unanswered": 0,
        "unjudged": 0,
        "unparsed": 0,
        "judged_again": 1,
        "incomplete_groups": 0,
    }


@pytest.mark.parametrize(
    ("replies", "count", "why"),
    [
        (("what?", "so\n perhaps`"), "unparsed", "the judge's last line: ' perhaps'"),
        ((), "unjudged", "never judged"),
    ],
)
def test_an_unread_judge_is_not_satisfied(replies: tuple[str, ...], count: str, why: str) -> None:
    """It counts as no, breaks a row of levels, is counted, and is no outcome to compare."""
    scored, values = score(replies=changed("content/1/1", *replies))
    assert values["ssr/content/1"].value == values["hsr/content/1"].value == 0.5
    assert values["csl/content"].value == 1.5
    assert scored.counts[count] == 1
    assert any("can be read: 1;" in note for note in scored.notes)
    lost = example_of(scored, "content/1/1")
    assert lost.passed is None
    assert [(v.passed, v.why) for v in lost.verdicts] == [(None, why)]


def test_compat_counts_minus_one() -> None:
    """In the original's way an unread output is -1 in both sums, and lower case is unread."""
    replies = changed("content/1/2", "['yes', 'no']")
    assert score(replies=replies)[1]["ssr/content/2"].value == 0.75
    scored, values = score(replies=replies, official_scoring=True)
    assert values["hsr/content/2"].value == values["ssr/content/2"].value == 0
    assert example_of(scored, "content/1/2").scores["hsr/content/2"] == (-1, 1)
    assert values["ssr_weighted/content"].value == pytest.approx((1 + 2 * 0 + 3 + 0 + 4.5) / 15)
    assert values["csl/content"].value == 2
    assert values["ssr/content/1"].value == 1
    assert any("as -1" in note for note in scored.notes)


def test_no_answer_is_not_satisfied() -> None:
    """A row without an answer fails, judge or rule, and is counted."""
    texts = {**TEXTS, "content/1/3": None, "content/14/1": None}
    del texts["example/7/1"]
    scored, values = score(texts=texts)
    assert values["hsr/content/3"].value == 0.5
    assert values["csl/content"].value == 0.5
    assert values["csl/example"].value == 0
    assert scored.counts["unanswered"] == 3
    assert example_of(scored, "content/1/3").passed is False
    assert example_of(scored, "example/7/1").response is None
    assert score(texts=texts, official_scoring=True)[1]["hsr/content/3"].value == 0.5


def test_a_partial_list() -> None:
    """Groups that are cut count level by level, and in no number of whole groups."""
    scored, values = score(ROWS[:8])
    assert values["ssr/content/3"].value == 1
    assert (values["ssr/content/5"].value, values["ssr/content/5"].n) == (0.8, 1)
    assert (values["csl/content"].value, values["csl/content"].n) == (1, 1)
    assert values["ssr_weighted/content"].value == pytest.approx((1 + 1 + 3 + 0 + 4) / 15)
    assert scored.counts["incomplete_groups"] == 1
    assert any("lack a level: 1;" in note for note in scored.notes)
    alone = score(ROWS[:2])[1]
    assert "csl" not in alone and "ssr_weighted" not in alone
    assert alone["ssr_avg"].value == 0.75


def test_nothing_to_score() -> None:
    """An empty list has no metrics, and no complaint."""
    scored, values = score([])
    assert (scored.examples, values) == ((), {})


@pytest.mark.parametrize(
    ("replies", "says"),
    [
        ({}, "answers that a judge must score: 5; there is no output of a judge"),
        ({"content/1/3": ()}, "the judge was called and wrote nothing"),
        ({"content/1/3": ("I think", "so\nit is fine")}, "(one ends in 'it is fine')"),
    ],
)
def test_an_error_where_no_judge_output_can_be_read(
    replies: dict[str, tuple[str, ...]], says: str
) -> None:
    """Only official scoring gives a score then."""
    with pytest.raises(UsageError) as caught:
        score(replies=replies)
    assert says in str(caught.value)
    assert (
        score(replies=replies, official_scoring=True)[1]["ssr/content/1"].value == 0
    )  # (1 - 1) / 2


async def test_responding() -> None:
    """Each instruction is sent as it is, with the run's own settings."""
    runner = FakeJobRunner(FakeOutputs({}))
    await FollowBench().respond(runner, ROWS)
    (job,) = runner.ran
    assert (job.name, list(job.prompts), dict(job.settings)) == (ANSWERS, ROWS, {})


async def test_grading_asks_about_answers_that_no_rule_scores() -> None:
    """One question for each judged row with an answer, under the row's id."""
    runner = FakeJobRunner(FakeOutputs({**TEXTS, "content/1/2": None}))
    await FollowBench().grade(runner, ROWS)
    (job,) = runner.ran
    assert [prompt.id for prompt in job.prompts] == [f"content/1/{n}" for n in (1, 3, 4, 5)]
    text = job.prompts[1].messages[0].content
    assert "#Initial Instruction + 3 constraints#\nI3" in text
    assert "constraints#\nanswer 3" in text
    assert job.prompts[1].meta == {"file": "content", "group": 1, "level": 3}


async def test_grading_nothing() -> None:
    """No job is run if rules score everything."""
    runner = FakeJobRunner(FakeOutputs(TEXTS))
    await FollowBench().grade(runner, ROWS[5:])
    assert runner.ran == []


async def test_compat_grades_strictly() -> None:
    """Under official scoring, an output that only the lenient reading accepts is requested again."""
    from tests.fakes import TableRoles

    lower = "['yes', 'no', 'yes']"
    for official_scoring in (False, True):
        runner = FakeJobRunner(FakeOutputs(TEXTS))
        await FollowBench(official_scoring=official_scoring).grade(runner, ROWS)
        (job,) = runner.ran
        judge = job.change(TableRoles().roles).judge
        judgement, usage = await judge.judge(job.prompts[2], lower, lambda _: None)
        assert judgement.passed(0.5) is not official_scoring
        assert usage.calls == 0


def test_replaceable() -> None:
    """The command line sets the flag on the benchmark."""
    assert replace(FollowBench(), official_scoring=True).official_scoring is True
    assert FollowBench().data == ("followbench",)


@pytest.mark.data
async def test_answers_of_the_key_score_full(data_root: Path) -> None:
    """The key's own answers pass every rule that has one, and a judge that says yes passes the rest."""
    real = FollowBench().load(EvalConfig(data=str(data_root)))
    keyed = ("E2E", "text_editing", "WIKIEVENTS", "BBH_logical", "BBH_time", "gsm_8k")
    texts: dict[str, str | None] = {}
    for prompt in real:
        target = str(prompt.meta["target"])
        texts[prompt.id] = target if prompt.meta["rule"] in (*keyed, "self_made_space") else "."
        if prompt.meta["rule"] == "CONLL2003":
            texts[prompt.id] = target.split("'")[1]
        if prompt.meta["rule"] == "example":
            shape = target.removeprefix("{instruction}\n").replace("{{", "{").replace("}}", "}")
            texts[prompt.id] = shape.replace("{answer}", "so it is")
    replies = {p.id: (str(["YES"] * p.meta["level"]),) for p in real if not p.meta["rule"]}
    scored, values = score(real, texts, replies)
    for file in ("content", "situation", "style", "example"):
        assert values[f"hsr/{file}"].value == values[f"ssr/{file}"].value == 1
        assert values[f"csl/{file}"].value == 5
    # By rules without a key: 5 of mixed's 17 groups, both of format's 30.
    assert values["hsr/mixed"].value == pytest.approx(12 / 17)
    assert values["ssr/format"].value == pytest.approx(28 / 30)
    assert scored.counts["judged"] == 470
    runner = FakeJobRunner(FakeOutputs(texts))
    await FollowBench().grade(runner, real)
    assert len(runner.ran[0].prompts) == 470
