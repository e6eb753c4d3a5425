"""One file an engine; `spar.registry.ENGINES` lists them."""
