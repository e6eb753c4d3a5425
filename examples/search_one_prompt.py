"""Search one prompt, and print the tree.

python examples/search_one_prompt.py
python examples/search_one_prompt.py --model Qwen/Qwen2.5-7B-Instruct "Write two lines about rain."
"""

from __future__ import annotations

import argparse
import logging

import spar

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("prompt", nargs="?", default="Write something short. Use exactly 9 words.")
parser.add_argument("--model", default="", help="hub name or folder; none: the embedded model")
parser.add_argument("--engine", default="auto")
arguments = parser.parse_args()
logging.basicConfig(level=logging.INFO, format="%(message)s")

tree = spar.search(
    arguments.prompt, model=arguments.model, engine=arguments.engine, strategy="bfs", budget=15
)

for node in tree.nodes:
    score = f"{node.judgement.score:.2f}" if node.judgement else "unjudged"
    print(f"{'  ' * node.depth}#{node.id} [{score}] {node.response}")
print(
    f"\n{tree.stop} after {len(tree.nodes)} responses and {tree.usage.calls} calls:\n{tree.answer}"
)
