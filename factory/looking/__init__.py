"""Looking inside nodes that run, from another process."""
