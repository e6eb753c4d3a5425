"""Table rows and lines of text from what the browser knows, as pure functions."""
