"""`python -m spar` is the `spar` command."""

from spar.cli.app import main

main()
