"""The runtime: from settings to a run directory. Prints nothing; events go to a `Listener`."""
