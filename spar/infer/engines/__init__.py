"""One file an engine; `spar.plugins.ENGINES` lists them."""
