"""What a training loop takes: calls, steps, disk and memory. `spar.estimate.training` is its front."""
