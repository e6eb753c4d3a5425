"""Tests of `spar.infer`."""
