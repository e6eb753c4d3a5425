"""The data sets of the benchmarks: what they are, where they come from, and reading them.

registry.py    the data sets, with the checksum and public origin of each file (`sources.json`)
download.py    from the origin to the data folder
convert.py     an origin's content to a data file, where they differ
local.py       the data folder, and data sets in it
readers.py     the rows of a file
"""
