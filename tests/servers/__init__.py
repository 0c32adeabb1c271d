"""Real servers on loopback that behave like the services mail is handed to."""
