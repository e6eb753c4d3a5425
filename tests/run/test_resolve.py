"""Which models run where: who shares an engine, what `auto` picks, what is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.infer.decode import DEFAULT_ROOM
from spar.infer.engine_wrappers import InstrumentedEngine, MissingEngine
from spar.infer.engines import packages
from spar.infer.engines.fake import FakeEngine
from spar.run import resolve as deploy
from spar.run.engines import TREES_PER_SLOT, Engines
from spar.run.resolve import (
    check_combination,
    deployments,
    pick_engine,
    required_roles,
    resolve_config,
)
from spar.types import ROLES, Role


def silent(_: str) -> None:
    """Tell nobody."""


def test_roles_of_one_model_share_a_deployment() -> None:
    """Without more said, the embedded model plays all three."""
    served = deployments(DecodeConfig())
    assert len(set(served.values())) == 1
    assert served["judge"].model == str(CHECKPOINT)


def test_the_judge_follows_the_refiner() -> None:
    """Its model and its server are the refiner's unless it has its own."""
    config = DecodeConfig(
        actor_url=("http://a",), refiner_url=("http://r",), actor_model="m", refiner_model="n"
    )
    served = deployments(config)
    assert served["judge"] == served["refiner"]
    assert (served["actor"].model, served["actor"].urls) == ("m", ("http://a",))
    assert (served["judge"].model, served["judge"].urls) == ("n", ("http://r",))


def test_a_role_on_a_server_does_not_take_over_a_local_model() -> None:
    """The judge's server is asked what it has; --base-url's model is every server's."""
    local = DecodeConfig(model="dir", judge_url=("http://j",))
    assert {r: d.model for r, d in deployments(local).items()} == {
        "actor": "dir",
        "judge": "",
        "refiner": "dir",
    }
    served = DecodeConfig(model="m", base_url=("http://a",), judge_url=("http://j",))
    assert {d.model for d in deployments(served).values()} == {"m"}


def test_one_model_on_two_servers_is_two_deployments() -> None:
    """Each has its own connection, queue and limits."""
    config = DecodeConfig(model="m", base_url=("http://a",), judge_url=("http://b",))
    assert len(set(deployments(config).values())) == 2


def test_a_shared_engine_knows_every_adapter() -> None:
    """Actor and refiner as two adapters of one base need one engine."""
    config = DecodeConfig(model="m", adapter={"actor": "x", "refiner": "y", "judge": "y"})
    (served,) = set(deployments(config).values())
    assert served.adapters == ("x", "y")


@pytest.mark.parametrize(
    ("settings", "roles"),
    [
        ({"strategy": "greedy"}, ("actor",)),
        ({"strategy": "best-of-n"}, ("actor", "judge")),
        ({"strategy": "bfs", "judge": "verifier"}, ("actor", "refiner")),
        ({"strategy": "best-of-n", "judge": "verifier"}, ("actor",)),
        ({"strategy": "dfs"}, ("actor", "judge", "refiner")),
    ],
)
def test_only_roles_that_are_asked_have_an_engine(
    settings: dict[str, Any], roles: tuple[Role, ...]
) -> None:
    """A greedy run with three models loads one."""
    models = {"actor_model": "a", "judge_model": "j", "refiner_model": "r", "engine": "fake"}
    config = DecodeConfig(**settings, **models)
    assert required_roles(config) == roles
    engines = Engines(config, roles=roles)
    for role in ROLES:
        assert isinstance(engines.get(role), MissingEngine) is (role not in roles)
    assert len(engines.opened) == len(roles)


@pytest.mark.parametrize(
    ("settings", "gpu", "vllm", "name", "why"),
    [
        ({}, False, True, "hf", "no GPU"),
        ({}, True, True, "vllm", "GPU"),
        ({}, True, False, "hf", "not installed"),
        ({"base_url": ("http://a",)}, True, True, "openai", "URL"),
        ({"judge_url": ("http://a",)}, True, True, "vllm", "a server is the judge"),
        ({"strategy": "greedy", "actor_url": ("http://a",)}, True, True, "openai", "URL"),
        ({"replicas": 2}, False, False, "ray", "replicas"),
        ({"ray_address": "auto"}, True, True, "ray", "Ray"),
        ({"engine": "hf"}, True, True, "hf", ""),
    ],
)
def test_auto_says_what_it_picks_and_why(
    settings: dict[str, Any],
    gpu: bool,
    vllm: bool,
    name: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes by what was asked for, then by what is there; a named engine needs no reason."""
    monkeypatch.setattr(deploy, "has_gpu", lambda: gpu)
    monkeypatch.setattr(deploy, "has_package", lambda _: vllm)
    picked, reason = pick_engine(DecodeConfig(**settings))
    assert picked == name
    assert why in reason
    assert bool(reason) is bool(why)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"engine": "hf", "base_url": ("http://a",)}, "use --engine openai"),
        ({"engine": "openai"}, "give --base-url"),
        ({"engine": "openai", "actor_url": ("http://a",)}, "no server for the judge"),
        ({"engine": "hf", "adapter": {"actor": "x"}}, "--adapter needs --engine vllm"),
        ({"engine": "hf", "engine_args": {"a": 1}}, "--engine-arg needs --engine vllm"),
        ({"engine": "hf", "speculative_decoding": "on"}, "--speculative-decoding on needs"),
        ({"engine": "hf", "replicas": 2}, "--replicas and --ray-address need --engine ray"),
        ({"engine": "vllm", "engine_args": {"hf_token": "x"}}, "HF_TOKEN"),
        ({"engine": "hf", "extra_body": {"a": 1}}, "--extra-body needs --engine openai, not hf"),
        ({"engine": "fake", "reasoning_effort": "low"}, "--reasoning-effort needs --engine hf"),
        (
            {"engine": "fake", "vote": {"temperature": 0, "chat_template_args": {"a": 1}}},
            "vote.chat_template_args needs --engine hf, not fake",
        ),
        (
            {"engine": "hf", "judge_url": ("http://a",), "extra_body": {"n": 2}},
            "--extra-body n: spar sets this field itself",
        ),
        (
            {"engine": "hf", "judge_url": ("http://a",), "extra_body": {"api_key": "x"}},
            "--extra-body api_key: would be written",
        ),
        ({"engine": "fake", "judge_url": ("http://me:secret@a",)}, "--api-key-env"),
        ({"engine": "hf", "model": "/nowhere/at/all"}, "no such folder"),
        ({"engine": "hf", "model": "nowhere/"}, "--model nowhere/: no such folder"),
    ],
)
def test_what_cannot_go_together_is_refused_at_once(settings: dict[str, Any], said: str) -> None:
    """Before a run directory is made, and with the next step."""
    with pytest.raises(UsageError, match=said):
        resolve_config(DecodeConfig(**settings), silent)


PUBLIC = (
    "stop_token_ids allowed_token_ids return_token_ids return_tokens_as_token_ids prompt_cache_key cache_salt "
    "long_prefill_token_threshold min_tokens key_value_heads"
).split()
SECRET = (
    "api_key apiKey api-key x-api-key key token hf_token auth_token accessToken access_token client_secret "
    "secret_name password db_password Authorization credentials"
).split()


@pytest.mark.parametrize("name", [*PUBLIC, *SECRET])
def test_fields_with_a_credential_are_refused_and_no_others(name: str) -> None:
    """Of requests to servers and of engines: a name that has to do with tokens or keys may be an ordinary one."""
    server = DecodeConfig(engine="openai", base_url=("http://a",), extra_body={name: 1})
    engine = DecodeConfig(engine="vllm", engine_args={name: 1})
    for config in (server, engine):
        if name in PUBLIC:
            check_combination(config)
            continue
        with pytest.raises(UsageError, match=f"{name}: would be written into run.json"):
            check_combination(config)


@pytest.mark.parametrize(
    ("interactive", "gpu", "speculate"),
    [(True, True, "on"), (False, True, "off"), (True, False, "off")],
)
def test_speculation_is_for_who_waits_at_a_gpu(
    interactive: bool, gpu: bool, speculate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There one reply after the other is waited for; a full engine only loses by it."""
    monkeypatch.setattr(deploy, "has_gpu", lambda: gpu)
    monkeypatch.setattr(packages, "has_package", lambda _: True)
    settled = resolve_config(DecodeConfig(engine="vllm"), silent, interactive=interactive)
    assert (settled.engine, settled.speculative_decoding) == ("vllm", speculate)


def test_auto_is_settled_and_told() -> None:
    """The manifest has the engine that ran, not the word auto."""
    lines: list[str] = []
    settled = resolve_config(DecodeConfig(strategy="greedy"), lines.append)
    assert settled.engine in ("hf", "vllm")
    assert settled.engine in lines[0]


def test_room_follows_the_engines() -> None:
    """As the user says; else a multiple of all slots; else a default where nothing limits."""
    first, second = FakeEngine(lambda _: ""), FakeEngine(lambda _: "")
    config = DecodeConfig(actor_model="a", engine="fake")
    served = deployments(config)
    opened = {
        served["actor"]: InstrumentedEngine(first),
        served["judge"]: InstrumentedEngine(second),
    }
    assert Engines(config, opened=opened).room() == DEFAULT_ROOM
    first.capacity = second.capacity = 10
    assert Engines(config, opened=opened).room() == TREES_PER_SLOT * 20
    mine = config.model_copy(update={"concurrency": 7})
    assert Engines(mine, opened=opened).room() == 7


def test_a_checked_folder_is_a_model(tmp_path: Path) -> None:
    """A folder without a model is refused for every engine in process."""
    with pytest.raises(UsageError, match=r"config\.json"):
        resolve_config(DecodeConfig(engine="vllm", model=str(tmp_path)), silent)
