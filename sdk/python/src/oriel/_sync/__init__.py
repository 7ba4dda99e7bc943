# Made of _async/__init__.py by tools/generate.py: change that.
"""The synchronous face, of which the synchronous one is made.

There is one code base: `_sync` is written, and `_sync` is made of it by tools/generate.py, which replaces words. A synchronous face that runs
an event loop in a thread would cost a switch for each request and make debugging and Ctrl-C harder; one written by hand would drift.
What decides (retries, events, MP4, keys) is in modules that both use, and does no I/O.
"""
