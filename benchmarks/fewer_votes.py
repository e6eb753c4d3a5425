"""What `--vote-rule majority` and `posterior` would have saved and changed, from a run whose votes were all cast.

    spar decode --strategy best-of-n --budget 2 --votes 15 --limit 200 --out runs/votes
    python benchmarks/fewer_votes.py runs/votes --votes 5 9 15

Nothing is generated. For each number of votes, the first so many of every stored judgement stand for a full vote; the
rules read them in their order and stop where they would have stopped. The votes of a judgement are drawn alike, so any
order of them could have been cast: shuffled, `--orders` times, they give a rare change more chances to be seen.
Judgements without a majority are left out, since a search votes again there. The error is over prompts: a prompt's
judgements, in all orders, are one cluster.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reporting import run_benchmark

from spar.errors import UsageError
from spar.eval.statistics import metrics
from spar.infer.votes import next_wave
from spar.record.evaluation import Example, Scored
from spar.store import read_manifest, read_trees

Verdicts = Sequence[bool | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One rule at one number of votes."""

    rule: str
    votes: int
    judgements: int
    prompts: int
    cast: float
    """Mean votes of a judgement."""
    steps: float
    """Mean waves of a judgement, one after the other."""
    changed: float
    """Share of the judgements with another verdict than the full vote's."""
    error: float | None
    """Standard error of `changed` over prompts; None of one prompt."""

    @property
    def line(self) -> str:
        """A row of a table in Markdown."""
        saved = 1 - self.cast / self.votes
        error = "-" if self.error is None else f"{100 * self.error:.2f}"
        return (
            f"| {self.votes} | {self.rule} | {self.judgements:,} of {self.prompts} | {self.cast:.2f} | {saved:.1%} | "
            f"{self.steps:.2f} | {100 * self.changed:.2f} ± {error} |"
        )


def majority(verdicts: Verdicts) -> bool | None:
    """The verdict of most votes, None on a tie."""
    num_yes, num_no = verdicts.count(True), verdicts.count(False)
    return None if num_yes == num_no else num_yes > num_no


def waves_of_majority(verdicts: Verdicts) -> Iterator[int]:
    """Sizes of the waves that `majority` casts."""
    needed = len(verdicts) // 2 + 1
    yield needed
    if len(set(verdicts[:needed])) > 1 or verdicts[0] is None:
        yield len(verdicts) - needed


def waves_of_posterior(verdicts: Verdicts) -> Iterator[int]:
    """Sizes of the waves that `posterior` casts."""
    num_cast = 0
    while size := next_wave(verdicts[:num_cast], len(verdicts) - num_cast):
        yield size
        num_cast += size


RULES = {"majority": waves_of_majority, "posterior": waves_of_posterior}


def shuffled(stored: Mapping[str, Iterable[Verdicts]], orders: int) -> dict[str, list[Verdicts]]:
    """Every judgement in so many orders, the stored one first."""
    rng = random.Random(0)
    return {
        prompt_id: [
            verdicts if order == 0 else rng.sample(verdicts, len(verdicts))
            for verdicts in judgements
            for order in range(orders)
        ]
        for prompt_id, judgements in stored.items()
    }


def measure(rule: str, votes: int, stored: Mapping[str, Iterable[Verdicts]]) -> Row:
    """One rule on the first `votes` verdicts of every judgement, by the id of its prompt."""
    cast = steps = 0
    changes: dict[str, list[bool]] = defaultdict(list)
    for prompt_id, judgements in stored.items():
        for verdicts in judgements:
            full = verdicts[:votes]
            if len(full) < votes or majority(full) is None:
                continue
            waves = [size for size in RULES[rule](full) if size]
            cast += sum(waves)
            steps += len(waves)
            changes[prompt_id].append(majority(full[: sum(waves)]) != majority(full))
    number = sum(map(len, changes.values()))
    if not number:
        raise UsageError(
            f"no stored judgement has {votes} votes with a majority; give fewer --votes"
        )
    examples = tuple(
        Example(id=id_, response=None, passed=None, scores={"changed": (sum(own), len(own))})
        for id_, own in changes.items()
    )
    share = metrics(Scored(examples=examples))["changed"]
    return Row(
        rule=rule,
        votes=votes,
        judgements=number,
        prompts=len(changes),
        cast=cast / number,
        steps=steps / number,
        changed=share.value,
        error=share.stderr,
    )


def stored_votes(directory: Path) -> dict[str, list[Verdicts]]:
    """The verdicts of a run's judgements, by the id of their prompt; each response once.

    Raises
    ------
    UsageError
        The run did not cast every vote.
    """
    rule = read_manifest(directory).config.get("vote_rule")
    if rule != "full":
        raise UsageError(
            f"{directory} was judged with the vote rule {rule!r}; expected a run with 'full'"
        )
    return {
        tree.prompt.id: [
            *{n.response: n.judgement.verdicts for n in tree.nodes if n.judgement}.values()
        ]
        for tree in read_trees(directory)
    }


def main() -> None:
    """Measure and print."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    flags.add_argument("run", type=Path, help="a run directory with full votes")
    flags.add_argument("--votes", type=int, nargs="+", default=[5])
    flags.add_argument("--orders", type=int, default=1, help="orders of each judgement's votes")
    args = flags.parse_args()
    stored = shuffled(stored_votes(args.run), args.orders)
    rows = [measure(rule, votes, stored) for votes in args.votes for rule in RULES]
    print("| votes | rule | judgements, of prompts | cast | saved | steps | verdicts changed, % |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(row.line)


if __name__ == "__main__":
    run_benchmark(main)
