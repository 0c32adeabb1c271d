"""What several benchmarks need: commands that are measured, and projects with people in their database."""
