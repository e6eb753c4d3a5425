"""A run as a self-contained page for a browser: its trees, drawn, and a dashboard above them.

    page = document(Embedded(...))         a file with everything in it: `spar export RUN --format html`
    page = document(live=...)              the same page over a server: `spar view RUN`

The page is one style sheet, one script and data; a content security policy allows these two by their hashes and
nothing else, so nothing in a prompt or a response can run, load or send anything. The files in `assets/` are plain
JavaScript and CSS without a build step, written to be read; `document.py` joins them.
"""
