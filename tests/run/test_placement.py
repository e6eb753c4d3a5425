"""Which models fit side by side, from numbers alone and from folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.embedded import CHECKPOINT
from spar.hardware import available_memory, container_room, free_memory
from spar.models.folders import local_files
from spar.run import placement as module
from spar.run.placement import arrange, placement, shares, weight_bytes

GIB = 1 << 30


@pytest.mark.parametrize(
    ("sizes", "free", "expected"),
    [
        ({"a": 4 * GIB}, GIB, "one"),
        ({}, GIB, "one"),
        ({"a": 4 * GIB, "b": 4 * GIB}, 12 * GIB, "side by side"),
        ({"a": 4 * GIB, "b": 4 * GIB}, 11 * GIB, "in turn"),
        ({"a": 16 * GIB, "b": 16 * GIB}, 45 * GIB, "side by side"),
        ({"a": 16 * GIB, "b": 16 * GIB}, 44 * GIB, "in turn"),
        ({"a": 1, "b": 1}, 2 * GIB, "in turn"),
        ({"a": 1, "b": None}, 900 * GIB, "in turn"),
    ],
)
def test_models_stand_side_by_side_where_weights_and_caches_fit(
    sizes: dict[str, int | None], free: int, expected: str
) -> None:
    """A quarter of the weights, and a gigabyte at least, is kept for each cache."""
    assert arrange(sizes, free).arrangement == expected


def test_the_reason_names_the_numbers() -> None:
    """What is needed and what is there, or the model of which nothing is known."""
    assert "10.0 GiB with their caches, 18.0 GiB can be used" in (
        arrange({"a": 4 * GIB, "b": 4 * GIB}, 20 * GIB).why
    )
    assert "size of org/b is unknown" in arrange({"a": 1, "org/b": None}, GIB).why


def test_shares_add_up_and_leave_room_for_the_small_one() -> None:
    """The larger model gets more, the smaller one at least a quarter of two."""
    found = shares({"small": GIB, "large": 9 * GIB})
    assert found["small"] == pytest.approx(0.3)
    assert sum(found.values()) == pytest.approx(1.0)
    assert shares({"a": None, "b": None}) == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(("stored", "width", "factor"), [("bfloat16", 4, 2), ("float32", 2, 0.5)])
def test_weights_are_scaled_to_the_dtype_that_they_run_in(
    tmp_path: Path, stored: str, width: int, factor: float
) -> None:
    """Shards are added up; pickled weights beside safetensors are the same ones and do not count."""
    (tmp_path / "config.json").write_text(json.dumps({"dtype": stored}))
    for name, size in (("model-1.safetensors", 1000), ("model-2.safetensors", 500), ("m.bin", 9)):
        (tmp_path / name).write_bytes(bytes(size))
    assert weight_bytes(str(tmp_path), width) == 1500 * factor


def test_what_is_not_here_has_no_size(tmp_path: Path) -> None:
    """Neither a hub name that was never downloaded nor a folder without weights."""
    assert weight_bytes("nobody/has-this-model", 2) is None
    assert weight_bytes(str(tmp_path), 2) is None
    assert local_files("not: a name") is None


def test_a_model_in_the_hubs_cache_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshot's folder is where its files lie."""
    hub = pytest.importorskip("huggingface_hub")
    config = tmp_path / "config.json"
    config.write_text("{}")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda model, name: str(tmp_path / name))
    assert local_files("org/model") == tmp_path


def test_the_machine_has_memory_and_the_embedded_model_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice the same model is one model; beside another tiny one it stands side by side."""
    pytest.importorskip("torch")
    free, on_gpu = free_memory("cpu")
    assert free > 0
    assert not on_gpu
    assert available_memory() > 0
    assert placement([str(CHECKPOINT)] * 2, device="cpu").arrangement == "one"
    monkeypatch.setattr(module, "free_memory", lambda device: (8 * GIB, False))
    both = placement([str(CHECKPOINT), str(CHECKPOINT) + "/."], device="cpu")
    assert both.arrangement == "side by side"


@pytest.mark.parametrize(
    ("files", "room"),
    [
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "inactive_file 50"}, 350),
        ({"memory.max": "1000", "memory.current": "1200", "memory.stat": "anon 1200"}, 0),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": "anon 1"}, None),
        (
            {
                "memory/memory.limit_in_bytes": "900",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "cache 9\ntotal_inactive_file 100",
            },
            500,
        ),
        ({}, None),
    ],
)
def test_the_limit_of_a_container_is_known(
    tmp_path: Path, files: dict[str, str], room: int | None
) -> None:
    """What its processes use counts, but not the file cache that the kernel gives back."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert container_room(tmp_path) == room
