"""Answers by searching: one session of models for all requests, admission, and a tree for each answer.

The search of an answer derives its seeds from the conversation and the request's seed, so that the same request with
the same seed has the same answer; its tree is stored under the completion's id.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

from spar.config import DecodeConfig
from spar.errors import EngineError, RunStopped, UsageError, did_you_mean
from spar.infer.gather import gather
from spar.infer.response_cache import REPEATABLE
from spar.infer.roles import Actor
from spar.listener import AttemptProgress, Listener
from spar.plugins import JUDGES
from spar.rows.row import shown
from spar.run.interactive import PreparedSearch, Session
from spar.serve.admission import Admission
from spar.serve.errors import invalid, server_error
from spar.serve.failures import failure, is_silent, no_answer
from spar.serve.lengths import AnswerLimit, actor_tokenizer
from spar.serve.offers import Offer, answers_once, model_name, open_offers
from spar.serve.recording import Recorder, RunDirectory
from spar.serve.request import SOURCE, ChatRequest, SearchFields
from spar.serve.settings import ServerSettings
from spar.serve.shaping import shaped_roles
from spar.types import Node, Prompt, SearchTree
from spar.verifiers import KNOWN_TYPES

MAX_PREPARED = 256
"""Searches of different settings that stay prepared."""
MAX_NOTES = 1024
"""Notes that are not repeated."""

OnNode = Callable[[int, Node], None]
"""Takes the number of an answer and a node that joined its tree."""
OnDraft = Callable[[int, str], None]
"""Takes the number of an answer and the beginning of its only draft, which is still being generated."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a request."""

    tree: SearchTree
    """Its prompt has the id under which it is stored."""
    address: str
    """`RUN/ID`, "" where it is not stored."""
    is_cut: bool = False
    """Whether it ends at the limit of tokens."""


@dataclass(slots=True)
class Job:
    """A request whose search is ready to start."""

    id: str
    """Of the completion."""
    model: str
    """As the client named it, or the id of what it got by default."""
    request: ChatRequest
    prompt: Prompt
    offer: Offer
    prepared: PreparedSearch
    seed: int | None
    directory: RunDirectory | None
    """Where its trees go."""

    def tree_id(self, index: int) -> str:
        """The id of an answer's tree."""
        return self.id if index == 0 else f"{self.id}-{index}"

    @property
    def is_repeatable(self) -> bool:
        """Whether an equal request has the same seed, and not one drawn for it."""
        return self.request.seed is not None or self.request.shape.temperature == 0

    @property
    def streams_text(self) -> bool:
        """Whether the answer is what a model drafts first, so that it can be shown while it is generated."""
        return answers_once(self.offer.strategy) and isinstance(self.prepared.roles.actor, Actor)

    @property
    def addresses(self) -> list[str]:
        """`RUN/ID` of each answer."""
        if self.directory is None:
            return []
        return [self.directory.address(self.tree_id(index)) for index in range(self.request.n)]


class SearchService:
    """Searches for requests; create it with `open`, close it in the end.

    Parameters
    ----------
    listener:
        Receives notes and every tree.
    """

    def __init__(self, settings: ServerSettings, listener: Listener = Listener()) -> None:
        self.config = settings.config.model_copy(update={"prompts": SOURCE, "total_budget": None})
        self.serve, self.listener = settings.serve, listener
        self.offers = open_offers(self.config, self.serve, listener.note)
        self._notes = _PreparationNotes(listener)
        self.session = Session(self.config, self._notes, interactive=False)
        self.recorder: Recorder | None = None
        if settings.out is not None:
            self.recorder = Recorder(
                settings.out,
                max_bytes=int(self.serve.rotate_mb * 1e6),
                daily=self.serve.rotate_daily,
                note=listener.note,
            )
        self._prepared: OrderedDict[Offer, PreparedSearch] = OrderedDict()
        self._preparing = asyncio.Lock()
        self.tokenizer: Any | None = None
        """Of the actor's model; None where spar does not load it."""
        self.admission = Admission(self._room, self.serve.max_queue)

    @classmethod
    def open(cls, settings: ServerSettings, listener: Listener = Listener()) -> Self:
        """A service whose models are loaded and whose offers have been checked.

        Raises
        ------
        UsageError
            A model that cannot be loaded, settings that cannot go together, an offer that is none.
        RunLocked
            Another server writes to the same folder.
        """
        service = cls(settings, listener)
        try:
            with service._notes.preparing():
                for offer in dict.fromkeys([*service.offers.listed, service.offers.greedy()]):
                    service._prepared[offer] = service.session.prepare(**_changes(offer))
        except BaseException:
            service.close()
            raise
        name = model_name(service.resolved, service.serve)
        service.offers = replace(service.offers, model=name)
        service.tokenizer = actor_tokenizer(service.resolved)
        return service

    @property
    def resolved(self) -> DecodeConfig:
        """The settings with every open choice resolved, such as the name of a server's model."""
        return self.greedy[1].config

    @property
    def greedy(self) -> tuple[Offer, PreparedSearch]:
        """The search of requests that need none."""
        offer = self.offers.greedy()
        return offer, self._prepared[offer]

    async def start(self, request: ChatRequest, completion_id: str) -> Job:
        """Find the search of a request and make it ready; `finish` the job in the end.

        Raises
        ------
        ApiError
            No such search, or one that cannot answer this request.
        """
        assert request.prompt is not None
        offer = self._offer(request)
        _refuse_unknown_types(request, offer.judge or self.config.judge)
        prepared = await self._prepare(offer, request.search)
        try:
            with self._notes.preparing():
                await self.session.check_prompt(prepared, request.prompt)
        except UsageError as error:
            raise invalid(str(error)) from error
        seed = request.seed
        if seed is None:
            is_greedy = request.shape.temperature == 0
            seed = self.config.seed if is_greedy else secrets.randbelow(2**31)
        directory = self.recorder.reserve(prepared.manifest) if self.recorder else None
        model = request.model or self.offers.id_of(offer)
        return Job(completion_id, model, request, request.prompt, offer, prepared, seed, directory)

    def finish(self, job: Job) -> None:
        """Say that a job's answers are stored, or will not come."""
        if self.recorder is not None and job.directory is not None:
            self.recorder.release(job.directory)

    async def answers(
        self,
        job: Job,
        on_node: OnNode = lambda index, node: None,
        on_draft: OnDraft | None = None,
    ) -> list[Answer]:
        """Search all answers of a job; cancelling this cancels the searches and their requests.

        Parameters
        ----------
        on_draft:
            Has the engine stream, where the job can show text (`Job.streams_text`).

        Raises
        ------
        ApiError
            The engine failed, the time is over, or there is no answer.
        """
        searches = [
            asyncio.ensure_future(self._answer(job, index, _listener(index, on_node, on_draft)))
            for index in range(job.request.n)
        ]
        try:
            async with asyncio.timeout(self.serve.request_timeout):
                return await gather(searches, lambda _: False)
        except TimeoutError:
            raise server_error(
                504,
                f"the search took more than {self.serve.request_timeout:g} seconds (--request-timeout) and was "
                "cancelled; ask for a smaller budget, or for max_seconds",
                "timeout",
                retry=False,
            ) from None

    def close(self) -> None:
        """Cancel what is running, free the models and close the record."""
        self.session.close()
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None

    def _offer(self, request: ChatRequest) -> Offer:
        search = request.search
        offer = self.offers.find(request.model)
        if request.is_side_task and search.strategy is None and search.budget is None:
            return self.offers.greedy()
        return self.offers.changed(offer, search.strategy, search.budget, search.judge)

    async def _prepare(self, offer: Offer, search: SearchFields) -> PreparedSearch:
        async with self._preparing:
            if offer not in self._prepared:
                try:
                    with self._notes.preparing():
                        self._prepared[offer] = await self.session.prepare_async(**_changes(offer))
                except (EngineError, UsageError, RunStopped) as error:
                    raise failure(error, self.resolved, search) from error
                greedy = self.offers.greedy()  # requests with tools need it, whenever they come
                self._prepared.move_to_end(greedy)
                while len(self._prepared) > MAX_PREPARED:
                    self._prepared.popitem(last=False)
            self._prepared.move_to_end(offer)
            return self._prepared[offer]

    async def _answer(self, job: Job, index: int, listener: Listener) -> Answer:
        REPEATABLE.set(job.is_repeatable)  # in this task alone
        shape, prepared = job.request.shape, job.prepared
        limit = AnswerLimit(shape.max_tokens, self.tokenizer)
        roles, refusals = shaped_roles(prepared.roles, shape, limit, first=index == 0)
        seed = None if job.seed is None else job.seed + index
        budget, seconds = prepared.settings.budget, job.request.search.max_seconds
        if seconds is not None:
            budget = replace(budget, seconds=min(seconds, budget.seconds or seconds))
        search = replace(
            prepared, roles=roles, settings=replace(prepared.settings, seed=seed, budget=budget)
        )
        try:
            async with self.admission.tree():
                tree = await self.session.search_prepared(search, job.prompt, listener)
        except (EngineError, UsageError) as error:
            raise failure(error, self.resolved, job.request.search) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise server_error(503, "the server is stopping", "stopping") from None
        meta = {**tree.prompt.meta, "request": {**job.request.settings, "seed": seed}}
        stored_as = tree.prompt.model_copy(update={"id": job.tree_id(index), "meta": meta})
        tree = tree.model_copy(update={"prompt": stored_as})
        stored = False
        if self.recorder is not None and job.directory is not None:
            stored = await self.recorder.append(job.directory, tree)
        self.listener.tree(tree)
        if tree.selected is None and not is_silent(tree):
            raise no_answer(tree, refusals, self.resolved)
        address = job.directory.address(job.tree_id(index)) if stored and job.directory else ""
        return Answer(tree, address, is_cut=tree.answer in limit.cut)

    def _room(self) -> int:
        """Trees in flight that keep the engines busy, by whatever was prepared last."""
        prepared = next(reversed(self._prepared.values()), None)
        return prepared.room() if prepared else 1


class _PreparationNotes(Listener):
    """Passes each note on a search or a prompt that is prepared on once, since all have the same models; other notes, such as those of
    servers that are down, whenever they come."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._noted: set[str] = set()
        self._num_preparing = 0

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """While this lasts, what was noted before is not noted again."""
        self._num_preparing += 1
        try:
            yield
        finally:
            self._num_preparing -= 1

    def note(self, line: str) -> None:
        """Pass on, unless it was noted while something was prepared."""
        if self._num_preparing:
            if line in self._noted:
                return
            if len(self._noted) < MAX_NOTES:
                self._noted.add(line)
        self._listener.note(line)


class _NodeListener(Listener):
    """Passes on the nodes of one answer."""

    def __init__(self, index: int, on_node: OnNode) -> None:
        self._index, self._on_node = index, on_node

    def node(self, prompt: Prompt, node: Node) -> None:
        """Pass on."""
        self._on_node(self._index, node)


class _DraftListener(_NodeListener):
    """Passes on the text of its draft as well, for which the engine streams."""

    def __init__(self, index: int, on_node: OnNode, on_draft: OnDraft) -> None:
        super().__init__(index, on_node)
        self._on_draft = on_draft

    def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
        """Pass on."""
        self._on_draft(self._index, attempt.text)


def _refuse_unknown_types(request: ChatRequest, judge: str) -> None:
    """Raise `ApiError` for constraints of types that no program knows, under one of spar's own judges that reads no constraints."""
    names = request.search.instruction_id_list or ()
    unknown = [name for name in names if name not in KNOWN_TYPES]
    spec = JUDGES.spec(judge)
    if unknown and judge in JUDGES and spec.uses_model and spec.check_prompts is None:
        hint = did_you_mean(unknown[0], KNOWN_TYPES)
        raise invalid(
            f"no verifier knows the constraint type {shown(unknown[0])}, and the judge {judge} reads none; leave it out, or have "
            f"the judge hybrid vote on it{hint}",
            "spar",
        )


def _listener(index: int, on_node: OnNode, on_draft: OnDraft | None) -> Listener:
    if on_draft is None:
        return _NodeListener(index, on_node)
    return _DraftListener(index, on_node, on_draft)


def _changes(offer: Offer) -> dict[str, object]:
    changes = {"strategy": offer.strategy, "budget": offer.budget}
    return {**changes, "judge": offer.judge} if offer.judge else {**changes}
