"""The trainers' settings, what they refuse, and the commands that are built from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from spar.errors import UsageError
from spar.train.common import accumulation, check_lengths
from spar.train.deepspeed_files import PRESETS, deepspeed_config, deepspeed_file
from spar.train.dpo import loss_arguments
from spar.train.launch import command, main
from spar.train.settings import DpoSettings, LaunchSettings, SftSettings, load_settings

NAMED: dict[str, Any] = {"model": "m", "data": "d.jsonl", "out": "o"}


def test_defaults_are_the_papers() -> None:
    """The hyperparameters that the paper and its scripts state are what nobody has to set."""
    dpo, sft = DpoSettings(**NAMED), SftSettings(**NAMED)
    assert (dpo.learning_rate, dpo.epochs, dpo.batch, dpo.schedule) == (2e-7, 1, 32, "linear")
    assert (dpo.beta, dpo.sft_weight, dpo.cutoff) == (0.1, 0.1, 2048)
    assert (sft.learning_rate, sft.epochs, sft.batch) == (2e-6, 3, 64)
    assert (sft.schedule, sft.cutoff) == ("constant_with_warmup", 4096)
    for one in (dpo, sft):
        assert (one.warmup_ratio, one.beta1, one.beta2, one.method) == (0.1, 0.9, 0.999, "full")


@pytest.mark.parametrize("kind", [DpoSettings, SftSettings, LaunchSettings])
def test_every_setting_has_a_docstring(kind: Any) -> None:
    """A docstring stands under each field."""
    assert [name for name, info in kind.model_fields.items() if not info.description] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({**NAMED, "learning_rat": 1}), "did you mean 'learning_rate'"),
        (json.dumps({"model": "m", "out": "o"}), "data is missing"),
        (json.dumps({**NAMED, "batch": 0}), "batch is 0"),
        (json.dumps({**NAMED, "schedule": "sine"}), "schedule is 'sine'"),
        (json.dumps([NAMED]), "are a JSON list"),
        ("{", "are not JSON"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file and the setting."""
    path = tmp_path / "dpo.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        load_settings(DpoSettings, path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_settings_round_trip(tmp_path: Path) -> None:
    """What is written is what is read."""
    settings = SftSettings(**NAMED, train_on="all", lora={"targets": ("q_proj", "v_proj")})
    path = tmp_path / "sft.json"
    path.write_text(settings.model_dump_json())
    assert load_settings(SftSettings, path) == settings


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The message says which file cannot be read."""
    with pytest.raises(UsageError, match=r"cannot read the settings .*none\.json"):
        load_settings(DpoSettings, tmp_path / "none.json")


def test_the_loss_is_the_papers() -> None:
    """DPO at beta 0.1 plus a tenth of the SFT loss, in TRL's words."""
    found = loss_arguments(DpoSettings(**NAMED))
    assert (found["loss_type"], found["loss_weights"]) == (["sigmoid", "sft"], [1.0, 0.1])
    assert found["beta"] == 0.1
    alone = loss_arguments(DpoSettings(**NAMED, sft_weight=0))
    assert (alone["loss_type"], alone["loss_weights"]) == (["sigmoid"], [1.0])


def test_a_batch_must_divide_evenly() -> None:
    """32 pairs over 8 processes, two at a time, are two micro-batches each; over 3 they are none."""
    settings = DpoSettings(**NAMED, batch=32, micro_batch=2)
    assert accumulation(settings, 8) == 2
    with pytest.raises(UsageError, match="batch 32 cannot be divided: 3 processes"):
        accumulation(settings, 3)


def test_deepspeed_presets_are_shipped() -> None:
    """Each preset has its stage, and ZeRO-3 gathers the weights that it saves."""
    stages = {}
    for path in PRESETS.glob("*.json"):
        zero = json.loads(path.read_text())["zero_optimization"]
        stages[path.stem] = zero["stage"]
        assert zero["stage"] < 3 or zero["stage3_gather_16bit_weights_on_model_save"] is True
        assert ("offload_optimizer" in zero) == path.stem.endswith("offload")
    assert stages == {"zero1": 1, "zero2": 2, "zero3": 3, "zero2-offload": 2, "zero3-offload": 3}


def test_deepspeed_takes_a_preset_or_a_file(tmp_path: Path) -> None:
    """An unknown name is answered with the presets."""
    own = tmp_path / "own.json"
    own.write_text("{}")
    assert deepspeed_file("zero3") == PRESETS / "zero3.json"
    assert deepspeed_file(str(own)) == own
    with pytest.raises(UsageError, match=r"'zero9': no such file, nor a preset .*zero3-offload"):
        deepspeed_file("zero9")


@pytest.mark.model
@pytest.mark.parametrize(
    ("zero", "method", "refused"),
    [
        ({"stage": 3}, "full", True),
        ({"stage": 3}, "lora", False),
        ({"stage": 2}, "full", False),
        ({"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}, "full", False),
    ],
)
def test_divided_weights_must_be_collected(
    zero: dict[str, Any], method: str, refused: bool, tmp_path: Path
) -> None:
    """ZeRO-3 without DeepSpeed's setting for it would train to the end and write no weights."""
    path = tmp_path / "zero.json"
    path.write_text(json.dumps({"zero_optimization": zero}))
    settings = DpoSettings(model="m", data="d", out="o", method=method, deepspeed=str(path))
    if refused:
        with pytest.raises(UsageError, match=r"stage3_gather_16bit_weights_on_model_save to true"):
            deepspeed_config(settings)
    else:
        assert deepspeed_config(settings) == path


def test_too_many_truncated_examples_are_rejected() -> None:
    """One in ten is above a limit of 5 %, and at a limit of 10 % it is cut and counted."""
    lengths = [50] * 9 + [300]
    settings = SftSettings(**NAMED, cutoff=200)
    with pytest.raises(UsageError, match=r"1 of 10 examples .* cutoff 200 .* 300 tokens"):
        check_lengths(lengths, settings, context=1024)
    loose = SftSettings(**NAMED, cutoff=200, max_truncated=0.1)
    assert check_lengths(lengths, loose, context=1024) == 1
    assert check_lengths([200, 10], settings, context=200) == 0


def test_an_example_longer_than_the_context_is_rejected() -> None:
    """A cutoff beyond the model's context helps nothing where an example is as long."""
    settings = SftSettings(**NAMED, cutoff=500, max_truncated=1)
    with pytest.raises(
        UsageError, match="an example has 300 tokens, and the model's context holds 256"
    ):
        check_lengths([300, 10], settings, context=256)
    assert check_lengths([100], settings, context=256) == 0


def test_one_process_runs_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher stands between."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = command("dpo", Path("a.json"), LaunchSettings(processes=1))
    assert found == [sys.executable, "-m", "spar.train.dpo", "a.json"]


def test_one_process_beside_several_gpus_has_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it transformers counts them all, and TRL refuses to train."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    found = command("dpo", Path("a.json"), LaunchSettings(processes=1))
    assert "--nproc-per-node 1" in " ".join(found)


def test_several_processes_use_torchs_launcher() -> None:
    """They meet on this machine at the given port."""
    how = LaunchSettings(processes=4, master_port=29501)
    found = " ".join(command("sft", Path("a.json"), how)[1:])
    assert found == (
        "-m torch.distributed.run --nnodes 1 --nproc-per-node 4 "
        "--master-addr 127.0.0.1 --master-port 29501 -m spar.train.sft a.json"
    )


def test_by_default_one_process_runs_on_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The visible GPUs count; without any it is one process."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert "--nproc-per-node 2" in " ".join(command("dpo", Path("a.json")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert command("dpo", Path("a.json"))[1:] == ["-m", "spar.train.dpo", "a.json"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--processes", "-1"), "--processes -1: input should be greater than or equal to 0"),
        (("--master-port", "70000"), "--master-port 70000: input should be less than or equal"),
    ],
)
def test_a_wrong_flag_of_the_launcher_is_one_line(
    flags: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, before the settings are read."""
    assert main(["dpo", "none.json", *flags]) == UsageError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_several_machines_use_deepspeeds_launcher(tmp_path: Path) -> None:
    """The hostfile is passed on; one that does not exist is a mistake."""
    pytest.importorskip("deepspeed")
    hosts = tmp_path / "hosts"
    with pytest.raises(UsageError, match="no such file"):
        command("dpo", Path("a.json"), LaunchSettings(hostfile=str(hosts)))
    hosts.write_text("one slots=8\ntwo slots=8\n")
    found = command("dpo", Path("a.json"), LaunchSettings(hostfile=str(hosts)))
    assert Path(found[0]).name == "deepspeed"
    assert found[1:3] == ["--hostfile", str(hosts)]
    assert found[3:] == ["--no_local_rank", "--module", "spar.train.dpo", "a.json"]
