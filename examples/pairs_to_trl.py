"""Preference pairs out of a run, into TRL's DPOTrainer.

python examples/pairs_to_trl.py --limit 60 --out runs/pairs

The refinement that passed is chosen over the failing draft that it was made from (the paper's pairs).
`spar train` does this with quotas, the refiner's training and several iterations.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spar

EMBEDDED = Path(spar.__file__).parent / "nano" / "checkpoint"


def pairs(trees: Iterator[spar.SearchTree]) -> Iterator[dict[str, Any]]:
    """Rows with TRL's column names, one a tree whose draft failed and whose answer passed."""
    for tree in trees:
        if not tree.solved or tree.selected is None:
            continue
        path = tree.path(tree.selected)
        draft, answer = path[0], path[-1]
        if answer is not draft:
            yield {
                "prompt": [message.model_dump() for message in tree.prompt.messages],
                "chosen": [{"role": "assistant", "content": answer.response}],
                "rejected": [{"role": "assistant", "content": draft.response}],
            }


def main() -> None:
    """Search, build the pairs, train a few steps, save the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="folder or name; default: the embedded model")
    parser.add_argument("--limit", type=int, default=60, help="built-in prompts to search")
    parser.add_argument("--max-steps", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    arguments = parser.parse_args()

    spar.decode(
        strategy="bfs",
        budget=7,
        limit=arguments.limit,
        model=arguments.model,  # the paper's settings; for the embedded model, "", its own
        out=arguments.out / "search",
        listener=spar.PlainProgress(),
    )
    rows = list(pairs(spar.read_trees(arguments.out / "search")))
    print(f"{len(rows)} pairs of {arguments.limit} prompts")

    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    config = DPOConfig(
        output_dir=str(arguments.out / "dpo"),
        per_device_train_batch_size=4,
        max_steps=arguments.max_steps,
        learning_rate=1e-4,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
    )
    model = arguments.model or str(EMBEDDED)
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.train()
    trainer.save_model(str(arguments.out / "model"))
    print(f"the model is in {arguments.out / 'model'}")


if __name__ == "__main__":
    main()
