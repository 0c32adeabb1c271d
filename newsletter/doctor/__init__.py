"""What `newsletter doctor` looks at: one small function a check, each pass, warn or fail with what to do."""
