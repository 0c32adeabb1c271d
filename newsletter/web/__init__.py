"""What is served over HTTP: the preview on this machine, and the web part, so far its health."""
