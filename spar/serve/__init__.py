"""An OpenAI-compatible server whose answers come from a search.

    errors.py      what a client did wrong, or what failed in the server, in the API's shape
    settings.py    the search's settings and the server's own
    offers.py      searches by name: the ids of models
    request.py     a request's body -> what is asked, checked and bounded
    admission.py   how many searches run at once, and who waits
    shaping.py     what a request asks of the answer's form, put around the roles of a search
    searching.py   one session of models for all requests; a tree for each answer
    recording.py   trees into run directories that rotate
    reply.py       trees -> completions and streams of them
    running.py     the searches of one request, and its stream of events
    http.py        bodies, clients that leave, keys
    app.py         the routes; server.py runs them until SIGTERM
    deployment.py  replicas behind Ray Serve

The search is `spar.run.interactive.Session`'s: one engine, and one thread with the event loop of all searches.
"""
