"""Other ways to send the same mail, each run as a process of its own, so that what it takes is its alone."""
