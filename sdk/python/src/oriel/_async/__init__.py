"""The asynchronous face, of which the synchronous one is made.

There is one code base: `_async` is written, and `_sync` is made of it by tools/generate.py, which replaces words. A synchronous face that runs
an event loop in a thread would cost a switch for each request and make debugging and Ctrl-C harder; one written by hand would drift.
What decides (retries, events, MP4, keys) is in modules that both use, and does no I/O.
"""
