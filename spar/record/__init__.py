"""What is written to disk, modelled once: file names and records that the writers and the browser share."""
