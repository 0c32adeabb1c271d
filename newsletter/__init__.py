"""The morning email, on time, once, to everyone who asked for it and to nobody else.

The rooms, in the order in which data passes through them:

    issue → rendering → preflight → audience → delivery → providers

`pipeline` calls them in that order, `settings` tells them what to do, `wiring` picks the concrete parts,
and `cli` is the door. tests/unit/test_architecture.py holds who may import whom.
"""

__version__ = "0.1.0"
