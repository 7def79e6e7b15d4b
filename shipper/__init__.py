"""The shipper: batches in, requests out, each under one hard deadline. Knows nothing of StatsD.

drain.py     hub      pick, attempt, record         checkin.py  hub     health to the server
lanes.py     pure     what to send next             protocols/  pure    batches -> request, answer -> verdict
trouble.py   pure     which batches are bad         outcome.py  pure    what an answer means
backoff.py   pure     how long to wait              deadline.py pure    an instant, not a duration
transport.py effect   requests, one attempt         sockets.py  effect  the deadline under every read and write
resolver.py  effect   names, abandonable            evidence.py effect  the last resort, and what it leaves
stream.py    effect   bodies over bare TCP and TLS  curl.py     pure    a request in words, for people
receiver/             the reference server, a program of its own
"""
