"""Tests of the experiments of `spar report`."""
