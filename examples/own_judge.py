"""A judge that is a Python function: the response must be a JSON object with the keys asked for.

python examples/own_judge.py --model Qwen/Qwen2.5-7B-Instruct
"""

from __future__ import annotations

import argparse
import json

import spar

KEYS = ("title", "year")


def is_json_object(prompt: spar.Prompt, response: str) -> tuple[bool, str]:
    """Whether the response passes, and the critique that the refiner is shown."""
    try:
        value = json.loads(response)
    except ValueError as error:
        return False, f"The response is not JSON: {error}."
    if not isinstance(value, dict):
        return False, "The response is JSON, but not an object."
    missing = [key for key in KEYS if key not in value]
    return not missing, f"Missing keys: {', '.join(missing)}." if missing else "All keys are there."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    tree = spar.search(
        f"Describe one film as a JSON object with the keys {' and '.join(KEYS)}. Write nothing else.",
        model=arguments.model,
        engine=arguments.engine,
        judge=is_json_object,
        strategy="iterative",
        budget=5,
    )
    print("solved" if tree.solved else "not solved", tree.answer)
