"""The checks that an issue must pass before it goes out; each is one small function with an id."""
