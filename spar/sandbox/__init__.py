"""The sandbox for programs that a model wrote: a child process with limits, restricted by the kernel and by Python."""
