"""`spar view`: runs as pages in a browser on this machine, over the index of the terminal browser."""
