"""What is served over HTTP. So far the preview, on this machine alone."""
