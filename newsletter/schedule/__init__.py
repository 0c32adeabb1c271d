"""When newsletters go out by themselves: slots, what is due, and the daemon. Holds no state: the database does."""
