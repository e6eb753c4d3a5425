"""What the training screen knows: rounds, examples, scores and losses of a training run."""
