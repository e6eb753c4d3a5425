"""Preference training of the tiny model: what it learns, leaves behind and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.errors import ConfigChanged, RunStopped, UsageError
from spar.infer.engine import Request, Sampling
from spar.pretrained import load_pretrained_tokenizer
from spar.record.training import read_metrics
from spar.train.dpo import main, train
from spar.train.owned import mark_owned
from spar.train.settings import DpoSettings
from spar.train.weights import cast, save_final
from spar.types import Message
from tests.requires import requires

from .training import distance, dpo_settings, quiet, weights, written

pytestmark = [pytest.mark.model, requires("trl"), *quiet()]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DpoSettings:
    """A training that is done."""
    settings = dpo_settings(tiny_model, tmp_path_factory.mktemp("dpo"), micro_batch=2)
    train(settings)
    return settings


def column(settings: DpoSettings, name: str) -> list[float]:
    """One metric's values, step by step."""
    values = [row.values[name] for row in read_metrics(Path(settings.out))]
    return [value for value in values if value is not None]


def test_a_few_steps_raise_the_margin(trained: DpoSettings) -> None:
    """The chosen side gains on the rejected one, from no margin and the loss of a coin to all pairs right."""
    margins, right = column(trained, "rewards/margins"), column(trained, "rewards/accuracies")
    assert margins[0] == 0
    assert margins[-1] > 0.5
    assert right[-1] == 1
    # log 2 of the pairs, and a tenth of about log 704, the tiny model's vocabulary, of the chosen side
    assert column(trained, "loss")[0] == pytest.approx(0.693 + 0.1 * 6.6, abs=0.2)


def test_the_learning_rate_follows_the_schedule(trained: DpoSettings) -> None:
    """Of six steps the first warms up from 0 and the others fall in a line."""
    rates = column(trained, "learning_rate")
    assert rates == pytest.approx([0, 1e-3, 8e-4, 6e-4, 4e-4, 2e-4])


def test_weights_that_are_not_finite_are_not_written(tiny_model: Path, tmp_path: Path) -> None:
    """The last step's damage shows in no loss; its checkpoint goes, the one before stays."""
    import torch
    from safetensors.torch import save_file

    class Trainer:
        """What a training ends with whose last step went wrong."""

        args = SimpleNamespace(process_index=0)
        state = SimpleNamespace(global_step=2)
        model = None
        accelerator = SimpleNamespace(unwrap_model=lambda model: model)

        def save_model(self, folder: str) -> None:
            """Write a weight that is not a number."""
            Path(folder).mkdir()
            save_file(
                {"lm_head.weight": torch.tensor([1.0, torch.nan])}, f"{folder}/model.safetensors"
            )

    settings = dpo_settings(tiny_model, tmp_path)
    for step in (1, 2):
        mark_owned(tmp_path / f"checkpoint-{step}")
    with pytest.raises(RunStopped, match=r"not finite \(lm_head\.weight\)"):
        save_final(Trainer(), settings, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_the_sft_term_is_part_of_the_loss(
    tiny_model: Path, tmp_path: Path, trained: DpoSettings
) -> None:
    """Without it the first loss is that of a coin, and the weights end elsewhere."""
    settings = dpo_settings(tiny_model, tmp_path, micro_batch=2, sft_weight=0.0)
    train(settings)
    assert column(settings, "loss")[0] == pytest.approx(0.6931, abs=1e-3)
    assert distance(Path(settings.out) / "model", Path(trained.out) / "model") > 1e-4


async def test_the_trained_folder_answers_like_any_model(
    trained: DpoSettings, tiny_model: Path
) -> None:
    """The hf engine loads it; beside the weights it is the starting model's folder."""
    from spar.infer.engines.hf import HfEngine

    folder = Path(trained.out) / "model"
    assert distance(folder, tiny_model) > 1e-3
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (tiny_model / name).read_bytes()
    before, after = (
        json.loads((path / "config.json").read_text()) for path in (tiny_model, folder)
    )
    assert before | {"dtype": "float32"} == after
    engine = HfEngine(str(folder))
    asked = (Message(role="user", content="Write about the fox number 3."),)
    replies = await engine.generate([Request(asked, Sampling(temperature=0, max_tokens=8))])
    await engine.aclose()
    assert replies[0].completion_tokens > 0


def test_a_finished_training_is_not_repeated(
    trained: DpoSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same settings find it done; its checkpoints are gone and its report says what came of it."""
    out = Path(trained.out)
    stamp = (out / "report.json").stat().st_mtime_ns
    train(trained)
    assert "trained already" in capsys.readouterr().out
    assert (out / "report.json").stat().st_mtime_ns == stamp
    report = json.loads((out / "report.json").read_text())
    assert (report["steps"], report["examples"], report["truncated"]) == (6, 12, 0)
    left = {path.name for path in out.iterdir()}
    assert left - {"tensorboard"} == {
        *("lock", "loss.png", "metrics.jsonl", "model", "report.json", "run.json")
    }


def test_other_settings_or_data_are_rejected(trained: DpoSettings, tmp_path: Path) -> None:
    """A folder holds one training; where the data lies does not count, what it says does."""
    with pytest.raises(ConfigChanged, match=r"beta: 0\.1 -> 0\.2"):
        train(trained.model_copy(update={"beta": 0.2}))
    moved = tmp_path / "moved.jsonl"
    shutil.copyfile(trained.data, moved)
    train(trained.model_copy(update={"data": str(moved)}))
    moved.write_text("\n".join(moved.read_text().splitlines()[1:]))
    with pytest.raises(ConfigChanged, match="data_digest"):
        train(trained.model_copy(update={"data": str(moved)}))


def test_a_precomputed_reference_is_the_same_training(
    tiny_model: Path, tmp_path: Path, trained: DpoSettings
) -> None:
    """It saves memory and changes nothing beyond rounding."""
    settings = dpo_settings(tiny_model, tmp_path, micro_batch=2, precompute_reference=True)
    train(settings)
    assert distance(Path(settings.out) / "model", Path(trained.out) / "model") < 1e-5


def test_a_model_without_a_chat_template_is_rejected(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says what is missing and what to do, in one line, and leaves it for a launcher."""
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    (bare / "chat_template.jinja").unlink()
    settings = dpo_settings(bare, tmp_path)
    assert main([str(written(settings))]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the model") and said.count("\n") == 1
    assert "has no chat template" in said
    failure = json.loads((Path(settings.out) / "failure.json").read_text())
    assert failure["kind"] == "usage" and failure["message"] in said


def test_pairs_longer_than_the_cutoff_are_rejected(tiny_model: Path, tmp_path: Path) -> None:
    """The longer side of a pair counts, and nothing is trained."""
    settings = dpo_settings(tiny_model, tmp_path, cutoff=20)
    with pytest.raises(UsageError, match=r"12 of 12 examples are longer than cutoff 20"):
        train(settings)
    assert not (Path(settings.out) / "model").exists()


def test_a_template_without_end_tokens_gets_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides get the end token that the template leaves out; the saved template is the model's own."""
    endless = tmp_path / "endless"
    shutil.copytree(tiny_model, endless)
    template = (
        "{% for m in messages %}{{'<|' + m['role'] + '|>' + m['content']}}{% endfor %}"
        "{% if add_generation_prompt %}{{'<|assistant|>'}}{% endif %}\n"
    )
    (endless / "chat_template.jinja").write_text(template)
    seen: list[Any] = []

    import spar.train.dpo as module

    monkeypatch.setattr(module, "fit", lambda trainer, *_: seen.append(trainer))
    train(dpo_settings(endless, tmp_path))
    rows, end = seen[0].train_dataset, seen[0].processing_class.eos_token_id
    assert len(rows) == 12
    for row in rows:
        for side in ("chosen_ids", "rejected_ids"):
            assert row[side][-1] == end and row[side].count(end) == 1
        assert end not in row["prompt_ids"]


def test_adapters_are_merged(tiny_model: Path, tmp_path: Path) -> None:
    """LoRA ends in an ordinary folder whose adapted layers have moved and whose others have not."""
    pytest.importorskip("peft")
    lora = {"rank": 4, "alpha": 8, "targets": ("q_proj",)}
    settings = dpo_settings(tiny_model, tmp_path, method="lora", learning_rate=1e-2, lora=lora)
    train(settings)
    before, after = weights(tiny_model), weights(Path(settings.out) / "model")
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved == {"model.layers.0.self_attn.q_proj.weight"}
    assert (Path(settings.out) / "adapter" / "adapter_config.json").exists()


def test_checkpoints_and_adapters_keep_the_chat_template(tiny_model: Path, tmp_path: Path) -> None:
    """TRL gets rendered turns and a template that adds nothing to them; what is saved has the model's own."""
    pytest.importorskip("peft")
    settings = dpo_settings(
        tiny_model, tmp_path, method="lora", checkpoint_steps=3, keep_checkpoints=True, epochs=1
    )
    train(settings)
    template = load_pretrained_tokenizer(str(tiny_model)).chat_template
    out = Path(settings.out)
    for folder in (out / "adapter", out / "checkpoint-3", out / "model"):
        assert load_pretrained_tokenizer(str(folder)).chat_template == template


def test_adapters_have_the_dropout_that_was_asked_for(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's DPO switches off every dropout; that of the adapters is a setting."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("peft")
    seen: list[Any] = []
    monkeypatch.setattr("spar.train.dpo.fit", lambda trainer, *_: seen.append(trainer))
    lora = {"rank": 4, "dropout": 0.3}
    train(dpo_settings(tiny_model, tmp_path, method="lora", lora=lora))
    shares = {m.p for m in seen[0].model.modules() if isinstance(m, torch.nn.Dropout)}
    assert shares == {0.3}


@pytest.mark.parametrize("save_dtype", ["bf16", "fp32"])
def test_a_format_that_loses_what_an_adapter_learned_is_named(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], save_dtype: str
) -> None:
    """Weights of bf16 do not move by less than half a step of their 8 bits; of fp32 they do."""
    pytest.importorskip("peft")
    model = tmp_path / "bf16"
    shutil.copytree(tiny_model, model)
    cast(model, "bfloat16")
    lora = {"rank": 4, "alpha": 4, "targets": ("q_proj",)}
    small = {"method": "lora", "learning_rate": 1e-6, "save_dtype": save_dtype}
    settings = dpo_settings(model, tmp_path / "run", lora=lora, **small)
    train(settings)
    said = capsys.readouterr().out
    moved = distance(model, Path(settings.out) / "model")
    if save_dtype == "fp32":
        assert "set save_dtype" not in said and 0 < moved < 1e-4
    else:
        assert "stored in bfloat16, 0% of what the adapter learned" in said and moved == 0


def test_what_a_killed_clean_up_left_is_removed(trained: DpoSettings) -> None:
    """The training is done, and its checkpoints are of no use; those of others stay."""
    out = Path(trained.out)
    for name in ("checkpoint-3", "pairs"):
        mark_owned(out / name)
    (out / "checkpoint-3" / "optimizer.pt").write_bytes(b"large")
    (out / "checkpoint-4").mkdir()
    train(trained)
    assert [(out / name).exists() for name in ("checkpoint-3", "pairs", "checkpoint-4")] == [
        *(False, False, True)
    ]
    (out / "checkpoint-4").rmdir()


def test_adapters_need_peft(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the package and the extra that brings it."""
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UsageError, match=r"method 'lora' needs the package 'peft'.*\[train\]"):
        train(dpo_settings(tiny_model, tmp_path, method="lora"))
