"""Rows of files as people have them: JSON lines, JSON lists, CSV, TSV, Parquet, text, data sets of the hub.

read.py        which source is read how; the formats
lines.py       lines, JSON and text, and the limits on their size
tables.py      CSV, TSV, Parquet
hub.py         data sets of the Hugging Face hub
json_text.py   JSON that can be written again as it was read
row.py         the record of a row, and errors about one
"""
