"""lm-eval's requests, the stored answers, and the roles that give them; lm-eval itself is not needed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import PromptRefused, UsageError
from spar.eval.lm_harness.likelihoods import (
    LikelihoodFile,
    ScoredDocument,
    ScoredText,
    read_likelihoods,
)
from spar.eval.lm_harness.replay import check_prompts, stored_likelihoods, stored_replies
from spar.eval.lm_harness.requests import (
    LIKELIHOOD,
    REPLY,
    ROLLING,
    Chat,
    LikelihoodRequest,
    ReplyRequest,
    likelihood_requests,
    reply_requests,
    to_chat,
)
from spar.eval.lm_harness.roles import LikelihoodActor, ReplyActor
from spar.eval.lm_harness.tasks import spread
from spar.infer.engine import Completion, Continuation, Likelihood, Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.roles import AttemptFailed
from spar.record.evaluation import LIKELIHOODS
from spar.types import Message, Prompt, SearchTree, Usage
from tests.fakes import make_prompt

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
MESSAGES = tuple(Message(role=t["role"], content=t["content"]) for t in TURNS)


@dataclass
class Instance:
    """A request, with what is read of lm-eval's own."""

    args: tuple[Any, ...]
    doc_id: int = 0
    request_type: str = REPLY
    idx: int = 0
    task_name: str = "toy"
    repeats: int = 1
    resps: list[Any] = field(default_factory=list)


def reply(context: str = "Why?", doc_id: int = 0, **options: Any) -> Instance:
    """A request for a reply."""
    return Instance((context, options), doc_id)


def text(context: str, continuation: str, doc_id: int = 0, idx: int = 0) -> Instance:
    """A request for a likelihood."""
    return Instance((context, continuation), doc_id, LIKELIHOOD, idx)


# --- the requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "temperature"),
    [
        ({}, 0.0),
        ({"do_sample": False, "temperature": 0.7}, 0.0),
        ({"do_sample": True, "temperature": 0.7}, 0.7),
        ({"do_sample": True}, 1.0),
        ({"temperature": 0.3}, 0.3),
    ],
)
def test_a_task_is_greedy_unless_it_wants_samples(
    options: dict[str, Any], temperature: float
) -> None:
    """`do_sample: false` outweighs a temperature."""
    (ask,) = reply_requests([reply(**options)])
    assert ask.temperature == temperature


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 256),
        ({"max_gen_toks": 9}, 9),
        ({"max_tokens": 8, "max_new_tokens": 7}, 7),
        ({"max_completion_tokens": 6}, 6),
    ],
)
def test_the_task_says_how_long_a_reply_may_be(options: dict[str, Any], most: int) -> None:
    """Under any of lm-eval's names, the first of them; 256 where none is set."""
    (ask,) = reply_requests([reply(**options)])
    assert ask.max_tokens == most


def test_stop_strings_come_as_one_or_as_many() -> None:
    """A lone string is one stop string, not its letters; what no engine takes is named."""
    single, several, absent = reply_requests(
        [reply(until="###"), reply(until=["a", "b"], top_k=3), reply()]
    )
    assert (single.until, several.until, absent.until) == (("###",), ("a", "b"), ())
    assert (single.ignored, several.ignored) == ((), ("top_k",))


def test_ids_name_task_and_document_and_are_unique() -> None:
    """A repeated request, or a second one about a document, has a number of its own."""
    first, second = reply(doc_id=4), replace(reply(doc_id=4), idx=1)
    ids = [ask.prompt.id for ask in reply_requests([first, first, first, second, reply(doc_id=5)])]
    assert ids == ["toy/4", "toy/4#0.1", "toy/4#0.2", "toy/4#1.0", "toy/5"]


def test_a_conversation_keeps_its_turns_and_text_stays_text() -> None:
    """Only what came through the chat template is a conversation."""
    chat, plain = reply_requests([reply(to_chat(TURNS)), reply(str(to_chat(TURNS)))])
    assert chat.prompt.messages == MESSAGES
    assert not chat.plain
    assert plain.plain
    assert [message.role for message in plain.prompt.messages] == ["user"]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_text_travels_in_a_conversation(contents: list[str]) -> None:
    """Lone surrogates included: lm-eval hashes its input."""
    chat = to_chat([{"role": "user", "content": content} for content in contents])
    assert isinstance(chat, Chat)
    assert [message.content for message in chat.messages] == contents
    assert chat.encode("utf-8").decode("utf-8") == str(chat)


def test_a_prefilled_reply_is_refused() -> None:
    """No engine is requested to continue a turn of the model's."""
    with pytest.raises(UsageError, match="--no-chat-template"):
        to_chat([*TURNS, {"role": "assistant", "content": "It is"}], add_generation_prompt=False)


def test_the_texts_of_a_document_are_one_ask() -> None:
    """In lm-eval's order, whatever other requests are between them; a rolling request has no context."""
    asks = likelihood_requests(
        [
            text("Why?", " A", 1),
            text("Who?", " A", 2),
            text("Why?", " B", 1, idx=1),
            Instance(("all of it",), 2, ROLLING),
        ]
    )
    assert [ask.prompt.id for ask in asks] == ["toy/1", "toy/2", "toy/2#rolling"]
    assert asks[0].continuations == (Continuation("Why?", " A"), Continuation("Why?", " B"))
    assert asks[2].continuations == (Continuation("", "all of it"),)


def test_the_digest_of_a_document_tells_contexts_and_texts_apart() -> None:
    """Any change of a request changes the digest."""
    variants = [
        [text("Why?", " A")],
        [text("Why? ", "A")],
        [text("Why?", " B")],
        [text(to_chat(TURNS), " A")],
        [text("Why?", " A"), text("Why?", " A", idx=1)],
    ]
    digests = [likelihood_requests(instances)[0].digest for instances in variants]
    assert len(set(digests)) == len(variants)


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=6), st.integers(1, 40))
def test_a_limit_is_spread_evenly(sizes: dict[str, int], limit: int) -> None:
    """All of it is used, no task gives more than it has, and none gives two more than one with more left."""
    counts = spread(sizes, limit)
    assert sum(counts.values()) == min(limit, sum(sizes.values()))
    assert all(counts[name] <= sizes[name] for name in sizes)
    unfinished = [counts[name] for name in sizes if counts[name] < sizes[name]]
    assert all(count <= least + 1 for least in unfinished for count in counts.values())
    assert spread(sizes, None) == sizes


# --- what is stored --------------------------------------------------------------------------------


def document(ask: LikelihoodRequest, *logprobs: float) -> ScoredDocument:
    """An ask with its likelihoods."""
    scored = [
        ScoredText(text=one.text, logprob=logprob, greedy=logprob > -1, tokens=1)
        for one, logprob in zip(ask.continuations, logprobs, strict=True)
    ]
    return ScoredDocument(id=ask.prompt.id, digest=ask.digest, likelihoods=tuple(scored))


TWO = [text("Why?", " A"), text("Why?", " B", idx=1)]


def test_a_torn_line_is_skipped_and_cut_off(tmp_path: Path) -> None:
    """What was being written when the process died is requested again, and the file stays whole."""
    (ask,) = likelihood_requests(TWO)
    (other,) = likelihood_requests([text("Who?", " A", 1)])
    file = LikelihoodFile(tmp_path)
    file.add(document(ask, -2.0, -0.5))
    file.close()
    with (tmp_path / LIKELIHOODS).open("a") as handle:
        handle.write('{"id": "toy/1", "dig')
    assert list(read_likelihoods(tmp_path)) == ["toy/0"]
    file = LikelihoodFile(tmp_path)
    assert file.get(other) is None
    file.add(document(other, -1.0))
    file.close()
    assert list(read_likelihoods(tmp_path)) == ["toy/0", "toy/1"]


def test_a_damaged_line_is_a_clear_word(tmp_path: Path) -> None:
    """The file, the line and what to do."""
    (tmp_path / LIKELIHOODS).write_text('{"id": 3}\n')
    with pytest.raises(UsageError, match=rf"{LIKELIHOODS}:1 is damaged; delete the line"):
        read_likelihoods(tmp_path)


def test_what_was_asked_otherwise_is_not_known(tmp_path: Path) -> None:
    """A document with the same id but another context is scored again."""
    (ask,), (changed,) = likelihood_requests(TWO), likelihood_requests([text("Who?", " A")])
    file = LikelihoodFile(tmp_path)
    file.add(document(ask, -2.0, -0.5))
    assert file.get(ask) == document(ask, -2.0, -0.5)
    assert file.get(changed) is None
    file.close()
    with pytest.raises(UsageError, match="no answer is stored for toy/0"):
        stored_likelihoods([text("Who?", " A")], read_likelihoods(tmp_path))


def test_pairs_come_in_the_order_of_the_requests() -> None:
    """Texts of several documents may be mixed; one that no model would score is zero."""
    requests = [text("Why?", " A"), text("Who?", " A", 1), text("Why?", " B", idx=1)]
    (ask, _) = likelihood_requests(requests)
    stored = {ask.prompt.id: document(ask, -2.0, -0.5)}
    likelihoods = stored_likelihoods(requests, stored, frozenset({"toy/1"}))
    assert likelihoods == [(-2.0, False), (0.0, False), (-0.5, True)]


def test_a_kept_reply_ends_where_the_task_says() -> None:
    """A refinement knows no stop strings; a prompt that was never answered is an error."""
    asks = reply_requests([reply(until=["\n"], doc_id=0), reply(doc_id=1)])
    assert stored_replies(asks, {"toy/0": " 18\nor 19", "toy/1": None}) == [" 18", ""]
    with pytest.raises(UsageError, match="no answer is stored for toy/1"):
        stored_replies(asks, {"toy/0": "18"})


def test_a_tree_of_another_prompt_is_refused() -> None:
    """The same id with another text: the data have changed since."""
    (ask,) = reply_requests([reply("Why?")])
    tree = SearchTree(prompt=ask.prompt, strategy="greedy", config="", stop="exhausted")
    check_prompts([ask], [tree], "here")
    other = tree.model_copy(update={"prompt": make_prompt("Who?", "toy/0")})
    with pytest.raises(UsageError, match="here: the prompt toy/0 was another one"):
        check_prompts([ask], [other], "here")


# --- who answers -----------------------------------------------------------------------------------


class Picky(FakeEngine):
    """Refuses conversations with a system's turn."""

    async def generate(self, requests: Any) -> list[Completion]:
        """Refuse, or reply."""
        self._refuse(requests[0].messages)
        return await super().generate(requests)

    async def score(self, continuations: Any) -> list[Likelihood]:
        """Refuse, or score."""
        self._refuse(continuations[0].context)
        return await super().score(continuations)

    def _refuse(self, messages: Any) -> None:
        if any(message.role == "system" for message in messages):
            raise PromptRefused("no system's turn, please")


def actor(ask: ReplyRequest, engine: FakeEngine, *, greedy_first: bool = True) -> ReplyActor:
    """An actor for one ask, with the run's own sampling for further drafts."""
    own = Sampling(temperature=0.9, top_p=0.8, max_tokens=99)
    return ReplyActor(engine, own, greedy_first, {ask.prompt.id: ask})


async def drafted(role: Any, prompt: Prompt, index: int = 0) -> Any:
    """A draft, with a seed that is its attempt's number."""
    return await role.draft(prompt, index, lambda attempt: attempt)


async def test_the_first_draft_is_the_tasks_and_others_are_sampled() -> None:
    """Length and stop strings are the task's in all of them; prompts are truncated, not refused."""
    (ask,) = reply_requests([reply("Why?", until=["."], max_gen_toks=5)])
    engine = FakeEngine(lambda _: " So it is. Yes.")
    role = actor(ask, engine)
    assert (await drafted(role, ask.prompt)).response == " So it is"
    await drafted(role, ask.prompt, 1)
    await drafted(actor(ask, engine, greedy_first=False), ask.prompt)
    expected = Request(
        ask.prompt.messages,
        Sampling(0.0, 1.0, 5, seed=0, stop=(".",)),
        plain=True,
        truncate=True,
    )
    sampled = replace(expected, sampling=replace(expected.sampling, temperature=0.9, top_p=0.8))
    assert engine.requests == [expected, sampled, sampled]


async def test_a_task_that_samples_has_its_own_temperature_in_every_draft() -> None:
    """The run's sampling is for tasks that are greedy."""
    (ask,) = reply_requests([reply(do_sample=True, temperature=0.2, top_p=0.5)])
    engine = FakeEngine(lambda _: "so")
    for index in (0, 3):
        await drafted(actor(ask, engine), ask.prompt, index)
    assert [(r.sampling.temperature, r.sampling.top_p) for r in engine.requests] == [(0.2, 0.5)] * 2


async def test_nothing_is_taken_off_a_reply() -> None:
    """Blank space counts, and an empty reply is an answer."""
    (ask,) = reply_requests([reply(until=["!"])])
    for said, heard in (("  a \n", "  a \n"), ("! no", ""), ("", "")):
        written = await drafted(actor(ask, FakeEngine(lambda _, said=said: said)), ask.prompt)  # type: ignore[misc]
        assert written.response == heard


async def test_a_template_without_a_systems_turn_gets_the_rest(tmp_path: Path) -> None:
    """Once more without it, as lm-eval does; a conversation that has none is not sent twice."""
    (ask,) = reply_requests([reply(to_chat(TURNS))])
    engine = Picky(lambda _: "so")
    assert (await drafted(actor(ask, engine), ask.prompt)).response == "so"
    assert engine.requests[0].messages == MESSAGES[1:]
    (scored,) = likelihood_requests([text(to_chat(TURNS), " A")])
    role = LikelihoodActor(engine, LikelihoodFile(tmp_path), {scored.prompt.id: scored})
    assert (await drafted(role, scored.prompt)).response == " A"
    role.file.close()


async def test_conversations_of_one_document_each_get_the_template_arguments(
    tmp_path: Path,
) -> None:
    """Where its contexts differ, too, as in WinoGrande; and each is sent once more without the system's turn."""
    other = [TURNS[0], {"role": "user", "content": "How?"}]
    contexts = [to_chat(TURNS), to_chat(other)]
    (ask,) = likelihood_requests([text(c, " A", idx=i) for i, c in enumerate(contexts)])
    sent: list[Any] = []

    class Strict(FakeEngine):
        async def score(self, continuations: Any) -> list[Likelihood]:
            """Refuse the system's turns."""
            sent.append(continuations)
            if any(message.role == "system" for each in continuations for message in each.context):
                raise PromptRefused("no system's turn")
            return [Likelihood(-1.0, False, 1) for _ in continuations]

    arguments = {"enable_thinking": False}
    file = LikelihoodFile(tmp_path)
    role = LikelihoodActor(Strict(str), file, {ask.prompt.id: ask}, arguments)
    await drafted(role, ask.prompt)
    file.close()
    assert [each.chat_template_args for each in sent[-1]] == [arguments, arguments]
    assert [each.context[0].content for each in sent[-1]] == ["Why?", "How?"]


class Deaf(FakeEngine):
    """Refuses whatever it is to score."""

    async def score(self, continuations: Any) -> list[Likelihood]:
        """Refuse."""
        raise PromptRefused("too long")


async def test_the_likeliest_text_answers_and_is_written_down_once(tmp_path: Path) -> None:
    """A document that is on the disk costs nothing more."""

    class Table(FakeEngine):
        async def score(self, continuations: Any) -> list[Likelihood]:
            """Longer texts are likelier."""
            return [Likelihood(float(len(c.text)) - 9, False, 2) for c in continuations]

    (ask,) = likelihood_requests([text("Why?", " A"), text("Why?", " BB", idx=1)])
    role = LikelihoodActor(Table(str), LikelihoodFile(tmp_path), {ask.prompt.id: ask})
    written = await drafted(role, ask.prompt)
    assert written.response == " BB"
    assert (written.usage.calls, written.usage.completion_tokens) == (2, 4)
    again = await drafted(replace(role, scorer=Deaf(str)), ask.prompt)
    assert (again.response, again.usage) == (" BB", Usage())
    role.file.close()
    assert [text.logprob for text in read_likelihoods(tmp_path)["toy/0"].likelihoods] == [
        -7.0,
        -6.0,
    ]


async def test_texts_that_no_model_scores_are_a_fault(tmp_path: Path) -> None:
    """The run goes on with other documents."""
    (ask,) = likelihood_requests(TWO)
    role = LikelihoodActor(Deaf(str), LikelihoodFile(tmp_path), {ask.prompt.id: ask})
    with pytest.raises(AttemptFailed, match="too long"):
        await drafted(role, ask.prompt)
    role.file.close()
    assert read_likelihoods(tmp_path) == {}
