"""What is known, as rows of tables and lines of text: pure functions."""
