"""Tests of spar; they mirror its packages."""
