"""The runs below a folder and the trees of a run, indexed for a table without parsing them all."""
