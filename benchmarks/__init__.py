"""Speed, measured by hand and by CI in a short form; no test depends on it."""
