"""The command line: `app.py` assembles it, one file a command."""
