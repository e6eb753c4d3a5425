"""One file a strategy; `spar.registry.STRATEGIES` lists them."""
