"""Workers: processes on any number of machines that send the batches of runs, by jobs of Procrastinate (PostgreSQL)."""
