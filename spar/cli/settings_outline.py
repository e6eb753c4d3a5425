"""How docs/settings.md is divided: by what a user wants to do, under headings in the field's terms.

Every setting of every class stands in one section; `spar.cli.settings_page` refuses an outline that leaves one out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spar.config import DecodeConfig, EvalConfig, ServeGroup, Settings
from spar.evolve.checkable.settings import CheckableGroup
from spar.evolve.settings import EvolveConfig
from spar.train.backtranslation import BacktranslationSettings
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.functions import FunctionSettings
from spar.train.harder import HarderSettings
from spar.train.recipe import TrainConfig
from spar.train.settings import DpoSettings, SftSettings


@dataclass(frozen=True, slots=True)
class Section:
    """A table of settings."""

    title: str
    names: str = ""
    """The settings in their order, separated by spaces; `draft.*` is all of a role. Empty for all of the class."""
    goal: str = ""
    """What a reader of the page wants who looks for it; empty to leave it out of the list at the top."""
    anchors: str = ""
    """Earlier names of its address, so that links to them still lead here."""
    source: type[Settings] | None = None
    """Class of the settings, if it is not that of the part."""
    note: str = ""
    """What stands below the heading."""


@dataclass(frozen=True, slots=True)
class Part:
    """Sections about one activity."""

    title: str
    note: str
    source: type[Settings]
    sections: tuple[Section, ...]
    anchors: str = ""
    variants: dict[str, type[Settings]] = field(default_factory=dict)
    """Classes that share most settings, by their keys in a recipe: one row a setting, with the default of each."""


OUTLINE = (
    Part(
        "Search",
        "Sections `decode` and `eval` of a recipe.",
        DecodeConfig,
        (
            Section("Prompts", "prompts prompt_field limit", "choose what is answered"),
            Section(
                "Strategy, budget, width and depth",
                "strategy budget total_budget branching beam_width depth strategy_args greedy_first",
                "sample more responses, or search deeper: best-of-N, beam search, BFS, DFS, MCTS",
            ),
            Section(
                "Judge, votes, threshold, refiner",
                "judge judge_args votes vote_rule threshold keep_votes refiner",
                "change how responses are scored: votes, programs, a reward, a checklist",
            ),
            Section(
                "Early stopping and limits on calls, tokens and seconds",
                "early_stop early_refine max_calls max_tree_tokens max_seconds",
                "spend less on a prompt, or answer it sooner",
            ),
            Section(
                "Seed, what is searched again, response cache",
                "seed redo response_cache",
                "repeat a run, resume it, or take replies of other runs",
                anchors="run",
            ),
        ),
        anchors="all-runs",
    ),
    Part(
        "Models, engines and servers",
        "Sections `decode` and `eval` of a recipe.",
        DecodeConfig,
        (
            Section(
                "Models and LoRA adapters",
                "model actor_model judge_model refiner_model adapter",
                "choose the model, or another one for a role",
                anchors="models",
            ),
            Section(
                "Engine: GPU, dtype, batch size, concurrency",
                "engine device dtype max_batch_size concurrency engine_args speculative_decoding",
                "run on a GPU with vLLM, use more or less of its memory, run more prompts at once",
                anchors="engine",
            ),
            Section(
                "OpenAI-compatible servers: URL, API key, timeout, retries",
                "base_url actor_url judge_url refiner_url api_key_env header extra_body timeout retry_for",
                "use a server in place of a local model",
                anchors="servers-and-clusters",
            ),
            Section(
                "Ray cluster and replicas",
                "replicas replica_engine ray_address",
                "use several machines",
            ),
        ),
    ),
    Part(
        "Sampling, reasoning and templates",
        "Sections `decode` and `eval` of a recipe. The paper samples drafts, votes and refinements by other settings, so each has its own.",
        DecodeConfig,
        (
            Section(
                "Drafts: temperature, top-p, top-k, max tokens",
                "draft.*",
                "change temperature or length of the responses",
                anchors="sampling",
            ),
            Section("Votes: temperature, top-p, top-k, max tokens", "vote.*"),
            Section("Refinements: temperature, top-p, top-k, max tokens", "refine.*"),
            Section(
                "Reasoning effort, chat template, prompt templates",
                "reasoning_effort chat_template_args templates",
                "turn thinking on or off, or change the judge's and the refiner's prompts",
            ),
        ),
    ),
    Part(
        "Evaluation",
        "Section `eval` of a recipe, for `spar eval` and `spar sweep`, beside those above. The strategy is greedy by default.",
        EvalConfig,
        (
            Section(
                "Benchmark, data, stored responses",
                "benchmark benchmark_args prompts data data_digest responses prompt_seed",
                "measure on a benchmark, or score responses that exist",
                anchors="benchmark prompts_1 nano-if",
            ),
            Section(
                "Grader: LLM as a judge of the benchmark",
                "grader_model grader_url grader_engine judge_votes",
                "choose the model that grades answers",
                anchors="grader llmbar-and-graded-benchmarks",
            ),
            Section("Grades: temperature, top-p, top-k, max tokens", "grade.*"),
            Section(
                "lm-eval tasks: few-shot examples, chat template, majority vote",
                "num_fewshot chat_template answer_rule max_gen_toks",
                "measure GSM8K, MMLU, TriviaQA, HumanEval or another task of lm-eval",
                anchors="lm-eval-tasks-and-humaneval",
            ),
        ),
        anchors="evaluations",
    ),
    Part(
        "Prompts to train on",
        "Section `evolve` of a recipe, for `spar evolve`.",
        EvolveConfig,
        (
            Section(
                "Complex prompts by a teacher",
                "per_prompt template_digest",
                "make plain prompts complex",
                anchors="evolution_1",
            ),
            Section(
                "Checkable prompts by a program", anchors="checkable-prompts", source=CheckableGroup
            ),
        ),
        anchors="evolution",
    ),
    Part(
        "Serving",
        "Section `serve` of a recipe, for `spar serve`, beside the settings of search, models and sampling.",
        ServeGroup,
        (
            Section(
                "Address, model names, API key",
                "host port offer served_name client_key_env",
                "serve searches to OpenAI clients",
                anchors="server",
            ),
            Section(
                "Queue, timeouts, limits of a request",
                "max_queue request_timeout drain_seconds keep_alive max_budget max_choices max_body_mb",
            ),
            Section("Recorded trees", "record rotate_mb rotate_daily"),
        ),
    ),
    Part(
        "Training loop",
        "Section `train` of a recipe, for `spar train`. `--set KEY=VALUE` changes any of them, such as `--set dpo.beta=0.2`. Its searches and "
        "evaluations have the settings above under `decode` and `eval`.",
        TrainConfig,
        (
            Section(
                "Iterations, prompts, drafts",
                "iterations iterative prompts prompt_field checkable prompts_per_iteration samples greedy_draft search by_iteration restart start seed",
                "train by self-play: how many iterations, on which prompts",
                anchors="loop",
            ),
            Section(
                "What is trained: DPO, RFT, SFT, one model for all roles",
                "methods dpo rft sft one_model own_answers judge_pairs meta_judge max_judgement_characters",
                "train one model, the actor alone, or the judge as well",
            ),
            Section(
                "Preference pairs and examples",
                "pairs min_pairs max_pairs length_control max_chosen_characters answer_score references cut_drafts shuffle_labels "
                "quotas embedding_model",
                "choose which pairs are learnt from",
            ),
            Section(
                "GPUs, hosts, evaluation of each iteration",
                "launch.* benchmarks measure_start",
                "train on several GPUs or machines",
            ),
            Section("Other sources of prompts", "backtranslation functions harder"),
            Section("`backtranslation`: instructions for texts", source=BacktranslationSettings),
            Section("`functions`: verification functions", source=FunctionSettings),
            Section("`harder`: prompts that get harder", source=HarderSettings),
        ),
        anchors="training",
    ),
    Part(
        "Bootstrap",
        "Section `bootstrap` of a recipe, for `spar bootstrap`.",
        BootstrapConfig,
        (
            Section(
                "Teacher's prompts, answers and judgements",
                "prompts prompt_field num_actor_prompts refiner_prompts num_refiner_prompts samples greedy_answers search judgements max_answers "
                "max_refinements max_judgements min_answers min_examples llamafactory seed",
                "train the first actor and refiner on a teacher's replies",
            ),
            Section("Training of the first models", "actor refiner launch.*"),
        ),
    ),
    Part(
        "Trainers",
        "Keys of `dpo` (the actor's training), `rft` (the refiner's) and `sft` (the actor's by imitation) in section `train`, and of `actor` and "
        "`refiner` in section `bootstrap`, which are `sft`'s.",
        DpoSettings,
        (
            Section(
                "Learning rate, batch size, epochs, optimizer",
                "learning_rate epochs max_steps batch micro_batch warmup_ratio schedule weight_decay beta1 beta2 max_grad_norm",
                "change the learning rate or the batch size",
                anchors="dpo-the-actors-training rft-the-refiners-training-sft-the-actors-by-imitation",
            ),
            Section(
                "Loss, sequence length, truncation",
                "beta sft_weight precompute_reference train_on cutoff max_truncated chat_template_args",
                "change DPO's beta, or train on longer texts",
            ),
            Section("LoRA and QLoRA", "method lora.*", "train adapters, with less memory"),
            Section(
                "Precision, memory, DeepSpeed, device",
                "precision save_dtype attention gradient_checkpointing deepspeed device",
                "fit a model into memory: ZeRO, offloading, gradient checkpointing",
            ),
            Section(
                "Checkpoints and logging",
                "checkpoint_steps keep_checkpoints wandb",
                "resume a training, or watch it in Weights & Biases",
            ),
        ),
        variants={"dpo": DpoSettings, "rft, sft": SftSettings},
    ),
)
