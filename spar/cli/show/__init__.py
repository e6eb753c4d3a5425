"""What the commands print: tables, trees, and the live view of a training loop."""
