"""The benchmarks' data: where it comes from, where it lies, how it is read."""
