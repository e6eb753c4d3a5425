"""Training examples out of search trees: scanning, selection, measurement and export."""
