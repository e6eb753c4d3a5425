"""What a training loop takes: calls, steps, disk and memory. `spar.cli.train_estimate` is its front."""
