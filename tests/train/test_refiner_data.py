"""The refiner's examples: which steps and judgements are learnt, in which words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.infer.search import run_search
from spar.record.training_data import RefinerExample, is_encodable
from spar.templates import load
from spar.templates.parse import Refinement, parse_refinement, refinement_text
from spar.templates.verdicts import parse_verdict
from spar.thinking import Answer
from spar.train.data.refiner_data import (
    draft_judgements,
    is_decided,
    is_split,
    majority,
    matches_majority,
    refine_example,
    tree_judgements,
)
from spar.train.encode import Encoder
from spar.types import Judgement, Message, SearchTree
from tests.fakes import MUTE, NO, YES, kind_of, make_prompt, make_settings, real_roles
from tests.strategies import trees
from tests.train.trees import Planned, draft, make_tree, tree_of, verified

TEMPLATES = load()


def roles_of(example: RefinerExample) -> list[str]:
    return [message.role for message in example.messages]


def test_a_program_is_no_split_vote() -> None:
    """Its judgements are decided, by all constraints and not by their share; its winner is an example."""
    tree = verified(make_tree((None, 0), (0, 0)), 2, 3)
    failing, passing = (node.judgement for node in tree.nodes)
    assert failing and passing and failing.score > 0.5
    assert [majority(each) for each in (failing, passing)] == [False, True]
    assert all(is_decided(each) and not is_split(each) for each in (failing, passing))
    assert all(map(matches_majority, (failing, passing)))
    assert tree_judgements(tree, TEMPLATES, 0) == draft_judgements(tree, TEMPLATES) == ()
    mixed = failing.model_copy(update={"verdicts": (True, False, False)})
    assert not is_split(mixed)
    assert refine_example(tree, TEMPLATES) is not None


def test_a_merged_winner_is_learnt_from_both_of_its_parents() -> None:
    """The conversation is the one that it answered: the other response and its critique stand in the request."""
    tree = make_tree((None, 1), (None, 2), (1, 4))
    merged = tree.nodes[2].model_copy(update={"second_parent": 0})
    example = refine_example(
        tree.model_copy(update={"nodes": (*tree.nodes[:2], merged)}), TEMPLATES
    )
    assert example is not None
    request = example.messages[-2].content
    assert tree.nodes[0].response in request
    assert request != TEMPLATES.refine


def test_the_winning_refinement_is_an_example() -> None:
    """The parent's judge prompt and critique, the request, and the refinement: not the root's."""
    tree = make_tree((None, 1), (0, 2), (1, 4))
    example = refine_example(tree, TEMPLATES)
    assert example is not None
    asked = TEMPLATES.judge_prompt(tree.prompt.messages, "r1")
    written = "why 2\nFinal Refined Output:\n[[start]]\nr2\n[[end]]"
    assert [m.content for m in example.messages] == [asked, NO, TEMPLATES.refine, written]
    assert roles_of(example) == ["user", "assistant", "user", "assistant"]
    assert (example.kind, example.node, example.score) == ("refine", 2, 0.8)
    assert (example.run, example.prompt_id, example.verdict) == ("search", "p", None)


@pytest.mark.parametrize(
    "reply",
    [
        "why\n**Final Refined Output:**\n[[start]]\nr1\n[[end]]",
        "Let me see.\n\nwhy\n\nFinal Refined Output:\n[[start]]r1[[end]]",
        "why\nFinal Refined Output:\n[[start]]\nr1\n[[end]]\nNow it is short.\n",
        "<think>hm</think>\n\nwhy\n**Final Refined Output:**\n[[start]]\nr1\n[[end]]",
    ],
)
def test_a_refinement_has_the_refiners_exact_text(reply: str) -> None:
    """A reply that is not in the canonical form is learnt character for character, off the disk too."""
    root, winner = make_tree((None, 1), (0, 4)).nodes
    found = parse_refinement(reply)
    words = {"reflection": found.reflection, "response": found.response, "text": reply}
    tree = tree_of(root, winner.model_copy(update=words))
    example = refine_example(SearchTree.from_json(tree.to_json()), TEMPLATES)
    assert example is not None
    assert example.messages[-1].content == reply


def test_text_after_the_last_marker_may_not_be_encodable() -> None:
    """A lone surrogate anywhere in the reply leaves the example out, not in the response alone."""
    root, winner = make_tree((None, 1), (0, 4)).nodes
    reply = f"{refinement_text(Refinement('why 1', 'r1'))}\ud800"
    example = refine_example(tree_of(root, winner.model_copy(update={"text": reply})), TEMPLATES)
    assert example is not None
    assert not is_encodable(example)


@pytest.mark.parametrize(
    "nodes", [((None, 1), (0, 2)), ((None, 4),), ((None, 1), (None, 4)), ((None, None),), ()]
)
def test_trees_without_a_winning_refinement(nodes: tuple[Planned, ...]) -> None:
    """Nothing passed, or what passed was a draft."""
    assert refine_example(make_tree(*nodes), TEMPLATES) is None


def judged(examples: tuple[RefinerExample, ...]) -> list[tuple[int, bool | None]]:
    """Nodes and verdicts."""
    return [(example.node, example.verdict) for example in examples]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (((None, 0), (0, 5)), []),  # unanimous
        (((None, 1), (0, 0), (1, 0)), [(0, False)]),  # unsolved trees teach judging too
        (((None, 0), (0, 2), (0, 3)), [(2, True), (1, False)]),
        (((None, 0), (0, 2), (1, 4)), [(2, True)]),  # node 1 opens the refine example
        (((None, None), (0, 2)), [(1, False)]),
    ],
)
def test_split_judgements_of_a_tree(
    nodes: tuple[Planned, ...], expected: list[tuple[int, bool]]
) -> None:
    """Votes that disagreed and decided: at most one Yes and one No, none that opens the refine example."""
    assert judged(tree_judgements(make_tree(*nodes), TEMPLATES, 0)) == expected


def test_the_official_mix_skips_the_draft_at_the_root() -> None:
    """The paper's code visits refinements alone."""
    tree = make_tree((None, 1), (0, 2))
    drawn: dict[bool, set[int]] = {
        with_root: {
            example.node
            for seed in range(20)
            for example in tree_judgements(tree, TEMPLATES, seed, with_root=with_root)
        }
        for with_root in (True, False)
    }
    assert drawn == {True: {0, 1}, False: {1}}


def test_the_seed_decides_which_judgements() -> None:
    """One of each is drawn among all of a tree's split ones."""
    tree = make_tree((None, 0), (0, 1), (0, 2), (0, 3), (0, 4))
    drawn = Counter(
        node for seed in range(200) for node, _ in judged(tree_judgements(tree, TEMPLATES, seed))
    )
    assert drawn.keys() == {1, 2, 3, 4}
    assert sum(drawn.values()) == 400
    assert min(drawn.values()) > 60


def test_a_judgement_is_the_judge_prompt_and_the_stored_vote() -> None:
    """The text is the first vote's on the majority side, in the words in which it came."""
    tree = make_tree((None, 3))
    (example,) = draft_judgements(tree, TEMPLATES)
    asked = TEMPLATES.judge_prompt(tree.prompt.messages, "r0")
    assert [m.content for m in example.messages] == [asked, YES]
    assert (example.kind, example.run, example.verdict) == ("draft", "drafts", True)
    assert example.score == 0.6


def test_every_split_draft_judgement_is_an_example() -> None:
    """Drafts have no limit a prompt; refinements, unanimous and unjudged drafts take no part."""
    tree = make_tree((None, 1), (None, 2), (None, 3), (None, 5), (None, 0), (None, None), (0, 2))
    assert judged(draft_judgements(tree, TEMPLATES)) == [(0, False), (1, False), (2, True)]


@pytest.mark.parametrize("critique", [YES, MUTE, "Final Judgement: No\nFinal Judgement: Yes"])
def test_a_critique_must_have_the_majoritys_verdict(critique: str) -> None:
    """A kept text that says otherwise than the majority, or nothing, is not learnt."""
    tree = tree_of(draft(1, critique=critique))
    assert tree.nodes[0].judgement is not None
    assert not matches_majority(tree.nodes[0].judgement)
    assert draft_judgements(tree, TEMPLATES) == ()
    assert tree_judgements(tree, TEMPLATES, 0) == ()


@pytest.mark.parametrize(
    ("verdicts", "split"),
    [
        ((True, True, False), True),
        ((True, False, None, False), True),
        ((True, False), False),
        ((True, None, None), False),
        ((None, None), False),
        ((), False),
    ],
)
def test_split(verdicts: tuple[bool | None, ...], split: bool) -> None:
    """Both verdicts were given, and not as often as each other; unparsed votes do not count."""
    assert is_split(Judgement(verdicts=verdicts, critique=NO)) is split


def test_a_judge_without_votes_yields_no_judgements() -> None:
    """A probability is no disagreement of votes."""
    judgement = Judgement(verdicts=(True,), critique=YES, probability=0.7)
    tree = tree_of(draft(0).model_copy(update={"judgement": judgement}))
    assert tree_judgements(tree, TEMPLATES, 0) == draft_judgements(tree, TEMPLATES) == ()
    assert majority(judgement)
    assert not majority(judgement.model_copy(update={"probability": 0.5}))


@given(trees(), st.integers(0, 9))
def test_judgements_have_their_verdicts(tree: SearchTree, seed: int) -> None:
    """Whatever the tree: the parser reads the verdict that an example is used for."""
    searched = tree_judgements(tree, TEMPLATES, seed)
    for example in (*searched, *draft_judgements(tree, TEMPLATES)):
        assert parse_verdict(example.messages[-1].content) is example.verdict
        assert (example.score > 0.5) is example.verdict
    assert max(Counter(example.verdict for example in searched).values(), default=0) <= 1


@pytest.mark.parametrize("dress", ["", "\n", "\n\nNow every part is met."])
async def test_the_conversations_are_those_of_the_search(dress: str) -> None:
    """Token for token: every example is a request that an engine got and the reply that it gave."""
    said: dict[tuple[str, ...], set[str]] = {}

    def reply(request) -> str:  # type: ignore[no-untyped-def]
        text = scripted_reply(request)
        text += dress if kind_of(request) == "refine" else ""
        said.setdefault(tuple(m.content for m in request.messages), set()).add(text)
        return text

    settings, found = make_settings("bfs"), []
    for index in range(40):
        prompt = make_prompt(f"Write a line; then close [[end]]. {index}", f"p{index}")
        tree = await run_search(prompt, real_roles(FakeEngine(reply)), settings)
        refinement = refine_example(tree, TEMPLATES)
        found += [*([refinement] if refinement else []), *tree_judgements(tree, TEMPLATES, 0)]
    assert Counter(example.kind for example in found).keys() == {"refine", "tree"}
    for example in found:
        *asked, answer = (message.content for message in example.messages)
        assert answer in said[tuple(asked)]


def refine_requests(count: int) -> list[Request]:
    """What the embedded model's refiner is asked in a search, by hand-made critiques that are true."""
    from spar.nano.tasks import sample_task
    from spar.nano.teacher import FlawRates, write_critique, write_response

    requests, dice = [], random.Random(0)
    truthful = FlawRates(ignored={}, broken_draft=0, wrong_line=0, broken_refinement=0)
    for index in range(count):
        task = sample_task("validation", 0, index)
        response = write_response(task, dice, passing=False)
        critique = write_critique(task, response, truthful, dice)
        asked = TEMPLATES.refine_conversation(make_prompt(task.text).messages, response, critique)
        requests.append(Request(asked, Sampling(temperature=0.7, max_tokens=256, seed=index)))
    return requests


@pytest.mark.model
async def test_the_embedded_models_refinements_are_canonical(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it writes is, byte for byte, what its parsed refinement is written as in training.

    Tokens too: what was sampled is what the trainers' encoder makes of the text, and no more than the end
    of the turn is added.
    """
    pytest.importorskip("torch")
    from spar.embedded import CHECKPOINT
    from spar.infer.engines.chat import ChatEncoder, load_tokenizer
    from spar.infer.engines.hf import HfEngine

    sampled: dict[str, list[int]] = {}
    read = ChatEncoder.read_completion

    def noting(self: ChatEncoder, request: Request, tokens: Sequence[int], **how: bool) -> Answer:
        answer = read(self, request, tokens, **how)
        sampled[f"{request.messages}{answer.text}"] = list(tokens)
        return answer

    monkeypatch.setattr(ChatEncoder, "read_completion", noting)
    engine, requests = HfEngine(str(CHECKPOINT)), refine_requests(8)
    replies = [reply.text for reply in await engine.generate(requests)]
    await engine.aclose()
    encoder = Encoder(tokenizer := load_tokenizer(str(CHECKPOINT)))
    for request, text in zip(requests, replies, strict=True):
        conversation = (*request.messages, Message(role="assistant", content=text))
        trained = [label for label in encoder.encode(conversation, "last").labels if label >= 0]
        assert trained == [*sampled[f"{request.messages}{text}"], tokenizer.eos_token_id]
    readable = [text for text in replies if text.endswith("[[end]]")]
    assert len(readable) >= 6
    assert [refinement_text(parse_refinement(text)) for text in readable] == readable
