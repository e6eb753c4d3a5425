"""The settings in groups, each a class with a title. `DecodeConfig` and `EvalConfig` inherit from them."""

from __future__ import annotations

from typing import Any, Literal

from spar.config.fields import Settings, setting
from spar.types import Role

PLACEMENT = (
    "block_size",
    "cpu_offload_gb",
    "data_parallel_size",
    "distributed_executor_backend",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_num_batched_tokens",
    "max_num_seqs",
    "num_gpu_blocks_override",
    "pipeline_parallel_size",
    "tensor_parallel_size",
)
"""Engine arguments that decide where and how large a model runs, not what it answers."""


Effort = Literal["auto", "low", "medium", "high"]
"""How long a reasoning model thinks."""


MAX_BUDGET = 1_000_000
"""Most responses of a tree. A larger number is a slip, and plans of it would take all memory."""


class SamplingConfig(Settings):
    """How one role is prompted and samples."""

    temperature: float = setting(ge=0)
    """Temperature; 0 is greedy."""
    top_p: float = setting(1.0, gt=0, le=1)
    """Probability mass of nucleus sampling."""
    max_tokens: int = setting(2048, flag="max-new-tokens", ge=1)
    """Maximum tokens of a reply."""
    top_k: int = setting(0, ge=0, omit_default=True)
    """Sample among the k most likely tokens only; 0 keeps all."""
    min_p: float = setting(0.0, ge=0, le=1, omit_default=True)
    """Sample among tokens at least this likely relative to the most likely one; 0 keeps all."""
    reasoning_effort: Effort = setting("auto", flag="", omit_default=True)
    """How long the role's model thinks, if not --reasoning-effort."""
    chat_template_args: dict[str, Any] = setting({}, flag="", omit_default=True)
    """Variables of the role's chat template, beside those of --chat-template-arg."""
    extra_body: dict[str, Any] = setting({}, flag="", omit_default=True)
    """Fields of the role's requests to servers, beside those of --extra-body."""


class PromptGroup(Settings):
    """What is answered."""

    panel = "Prompts"

    prompts: str = setting("", flag="", is_path=True)
    """A file (.jsonl, .json, .csv, .tsv, .parquet, .txt), a data set of the hub, or `-` for standard input;
    empty for the built-in nano-if prompts."""
    prompt_field: str = setting("", omit_default=True)
    """Field of the rows of the file or data set that holds the prompt; empty for the names that docs/decode.md lists."""
    limit: int | None = setting(None, may_change=True, ge=1, le=10**12)
    """Use only the first N prompts."""


class SearchGroup(Settings):
    """How an answer is searched, and when the search of a prompt ends."""

    panel = "Search"

    strategy: str = setting("bfs", names="strategy")
    """Search strategy."""
    budget: int = setting(15, ge=1, le=MAX_BUDGET)
    """Maximum responses per tree, drafts and refinements together (paper: 15)."""
    total_budget: int | None = setting(None, may_change=True, omit_default=True, ge=1)
    """Maximum responses of the whole run. What solved prompts leave of their --budget goes to unsolved ones in further
    rounds, first to those with the best response."""
    branching: int = setting(3, stored_as="branch", ge=1, le=1_000_000)
    """Refinements of an expanded node (paper: 3)."""
    beam_width: int = setting(2, stored_as="keep", ge=1, le=1_000_000)
    """Nodes of a level that are expanded further (paper: 2)."""
    depth: int = setting(3, ge=1, le=1_000_000)
    """Levels of refinement (paper: 3)."""
    strategy_args: dict[str, Any] = setting({}, flag="strategy-arg", omit_default=True)
    """Option of the strategy. Repeatable."""
    votes: int = setting(5, ge=1, le=10_000)
    """Votes per judgement (paper: 5)."""
    vote_rule: Literal["full", "majority", "race", "posterior"] = setting("full")
    """full casts every vote (paper). majority casts the rest only if the first votes are split. race casts all at once,
    where the engine has room, and aborts the rest when a majority agrees. posterior casts a few at a time until the
    majority is at least 95 % probable, which may rarely change a verdict."""
    keep_votes: bool = setting(False, may_change=True, omit_default=True)
    """Store the text of every vote, not only the first one on each side."""
    judge: str = setting("votes", names="judge")
    """Judge."""
    judge_args: dict[str, Any] = setting({}, flag="judge-arg", omit_default=True)
    """Option of the judge. Repeatable."""
    threshold: float = setting(0.5, stored_as="gate", ge=0, lt=1)
    """A node passes if the votes' share of yes is strictly above this (paper: 0.5); programs ask for every constraint."""
    early_stop: Literal["wave", "first"] = setting("wave", stored_as="stop")
    """wave judges each wave completely (paper), first cancels the rest as soon as a child passes."""
    early_refine: Literal["off", "auto"] = setting("off", may_change=True, omit_default=True)
    """auto refines on the first No while other votes and siblings are under way, where the engine has free slots: the
    same trees in less time, for more calls. off waits for each wave."""
    refiner: str = setting("", names="refiner", omit_default=True)
    """Refiner; empty for the model itself."""
    max_calls: int | None = setting(None, ge=1)
    """Maximum requests per tree, checked before each wave."""
    max_tree_tokens: int | None = setting(None, stored_as="max_tokens", ge=1)
    """Maximum generated tokens per tree, checked before each wave."""
    max_seconds: float | None = setting(None, gt=0)
    """Maximum seconds per tree, checked before each wave."""


class ModelGroup(Settings):
    """Which model plays which role."""

    panel = "Models"

    model: str = setting("", is_path=True)
    """Hugging Face folder, hub name, GGUF file, or a name of `spar models list`; empty for the embedded model."""
    actor_model: str = setting("", is_path=True)
    """Model of the actor, if not --model."""
    judge_model: str = setting("", is_path=True)
    """Model of the judge, if not the refiner's."""
    refiner_model: str = setting("", is_path=True)
    """Model of the refiner, if not --model."""


class EngineGroup(Settings):
    """What runs the models on this machine."""

    panel = "Engine"

    engine: str = setting("auto", names="engine")
    """Inference engine."""
    dtype: Literal["auto", "bf16", "fp32"] = setting("auto")
    """Number format of the weights; auto is bf16 on a GPU and fp32 on a CPU."""
    device: str = setting("auto", may_change=True)
    """auto, cpu, or a torch device such as cuda:1."""
    max_batch_size: int = setting(0, stored_as="rows", may_change=True, ge=0)
    """Maximum sequences that an in-process engine runs at once; 0 leaves it to the engine."""
    engine_args: dict[str, Any] = setting({}, flag="engine-arg", may_change=PLACEMENT)
    """Argument of the engine, passed on to vLLM unchanged. Repeatable."""
    adapter: dict[Role, str] = setting({}, is_path=True)
    """LoRA adapter folder for all roles, or role=folder (vllm). Repeatable."""
    speculative_decoding: Literal["auto", "on", "off"] = setting("auto", stored_as="speculate")
    """n-gram speculative decoding (vllm): lower latency, lower throughput, and other samples for the same
    seed; auto is on for --prompt on a GPU."""


class ServerGroup(Settings):
    """Servers and clusters that run the models."""

    panel = "Servers and clusters"

    base_url: tuple[str, ...] = setting((), may_change=True)
    """OpenAI-compatible server, such as http://host:8000/v1. Repeatable, for replicas."""
    actor_url: tuple[str, ...] = setting((), may_change=True)
    """Server of the actor, if not --base-url. Repeatable."""
    judge_url: tuple[str, ...] = setting((), may_change=True)
    """Server of the judge, if not the refiner's. Repeatable."""
    refiner_url: tuple[str, ...] = setting((), may_change=True)
    """Server of the refiner, if not --base-url. Repeatable."""
    api_key_env: str = setting("", may_change=True)
    """Environment variable with the servers' API key; empty sends no key."""
    timeout: float = setting(600.0, stored_as="request_seconds", may_change=True, gt=0)
    """Seconds until a request to a server is cancelled and sent again."""
    retry_for: float = setting(300.0, stored_as="retry_seconds", may_change=True, ge=0)
    """Seconds for which a request is retried while its server fails, at least four times, before the run
    stops."""
    header: dict[str, Any] = setting({}, may_change=True, omit_default=True)
    """Header of every request to a server, as NAME=env:VARIABLE: its value is read from that environment
    variable and never written. Repeatable."""
    extra_body: dict[str, Any] = setting({}, omit_default=True)
    """Field of every request to a server, for what only some servers know. Repeatable, or one JSON object."""
    replicas: int = setting(1, may_change=True, ge=1)
    """Copies of the model on a Ray cluster."""
    replica_engine: Literal["auto", "hf", "vllm"] = setting("auto")
    """Engine of each replica on a Ray cluster."""
    ray_address: str = setting("", may_change=True)
    """Ray cluster: auto or host:port; empty starts one on this machine."""


class RunGroup(Settings):
    """How a run is scheduled, and what makes it repeatable."""

    panel = "Run"

    concurrency: int = setting(0, may_change=True, ge=0)
    """Maximum trees in flight; 0 admits as many as keep the engine busy."""
    redo: tuple[Literal["changed", "unanswered"], ...] = setting(
        (), may_change=True, omit_default=True
    )
    """Stored trees to search again on resuming: changed, whose prompt has another content now; unanswered, where
    every attempt failed. Repeatable."""
    response_cache: str = setting("", may_change=True, is_path=True, omit_default=True)
    """File with replies of other runs, made if there is none: equal requests are answered from it. Seconds are then
    not those of the model."""
    seed: int | None = setting(0)
    """Random seed of the run; null in a recipe, or None in Python, leaves the engine unseeded."""
    greedy_first: bool = setting(True)
    """Decode the first draft of a tree greedily, so that every strategy starts from the same answer."""


class SamplingGroup(Settings):
    """How the roles are prompted and sampled."""

    panel = "Sampling"

    draft: SamplingConfig = setting(
        SamplingConfig(temperature=0.9, top_p=0.9, max_tokens=2048), flag=""
    )
    """Drafts. Paper and code: 0.9, 0.9, 2048."""
    vote: SamplingConfig = setting(SamplingConfig(temperature=0.7, top_p=1.0, max_tokens=2048))
    """Votes. Paper and code: 0.7, 1.0, 2048."""
    refine: SamplingConfig = setting(SamplingConfig(temperature=0.7, top_p=1.0, max_tokens=3072))
    """Refinements. Paper and code: 0.7, 1.0, 3072."""
    templates: str = setting("", is_path=True)
    """Folder with a judge.txt, refine.txt or another template to use instead of spar's."""
    chat_template_args: dict[str, Any] = setting({}, flag="chat-template-arg", omit_default=True)
    """Variable of the models' chat template, such as enable_thinking=false; sent to servers as
    chat_template_kwargs. Repeatable."""
    reasoning_effort: Effort = setting("auto", omit_default=True)
    """How long reasoning models think; auto leaves it to them."""


class BenchmarkGroup(Settings):
    """Which benchmark is run, on which data."""

    panel = "Benchmark"

    benchmark: str = setting("", flag="", names="benchmark")
    """Benchmark, or a task of lm-eval."""
    benchmark_args: dict[str, Any] = setting({}, flag="benchmark-arg", omit_default=True)
    """Option of the benchmark. Repeatable."""
    data: str = setting("", may_change=True, is_path=True)
    """Folder with the benchmarks' data; empty for $SPAR_DATA or the cache."""
    data_digest: str = setting("", flag="")
    """Digest of the benchmark's data files, so that a run is not resumed on other examples."""
    responses: str = setting("", is_path=True)
    """Score these responses instead of generating them: a file, a folder or a run directory."""


class GraderGroup(Settings):
    """The model that grades responses where no program can (followbench, refinement)."""

    panel = "Grader"

    grader_model: str = setting("", is_path=True)
    """Model of the grader, if not the judge's."""
    grader_url: tuple[str, ...] = setting((), may_change=True)
    """Server of the grader, if not the judge's. Repeatable."""
    grader_engine: str = setting("auto", names="engine")
    """Engine of the grader, if it has a model or server of its own."""
    grade: SamplingConfig = setting(SamplingConfig(temperature=0.0, max_tokens=1024))
    """Grades, and greedy judgements of llmbar."""


class LlmbarGroup(Settings):
    """Judging benchmarks."""

    panel = "llmbar and graded benchmarks"

    judge_votes: int = setting(0, ge=0, le=10_000)
    """Sampled votes per judgement of llmbar or of a Yes/No grader; 0 is one greedy judgement."""


class LmEvalGroup(Settings):
    """Tasks of lm-eval, and humaneval."""

    panel = "lm-eval tasks and humaneval"

    chat_template: bool = setting(True)
    """Format the prompts with the model's chat template."""
    num_fewshot: int | None = setting(None, ge=0)
    """Worked examples before each question; default: the task's own number."""
    answer_rule: Literal["best", "majority", "weighted"] = setting(
        "best", flag="answer", omit_default=True
    )
    """Which response of a tree answers: best has the highest score; majority gives the answer that most give, weighted
    the one with the highest sum of scores, for tasks with a filter that reads answers out of replies."""
    max_gen_toks: int | None = setting(None, ge=1)
    """Maximum tokens of a reply; default: the task's own number."""


class NanoIfGroup(Settings):
    """nano-if."""

    panel = "nano-if"

    prompt_seed: int = setting(0)
    """Seed that draws the test prompts."""
