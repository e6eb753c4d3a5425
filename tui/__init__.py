"""The terminal browser of search trees."""
