"""Rewriting: the smallest edits after which a response meets its constraints, made by programs.

    rewrite(prompt, response, seed=1).response

`search` tries the fixes of `table` on a response and verifies each; the other modules have one fix for each type of
constraint. It knows no model, no tree and no budget; `spar.infer.rewriter` makes it a refiner.
"""
