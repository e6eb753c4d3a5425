"""One file a strategy; `spar.plugins.STRATEGIES` lists them."""
