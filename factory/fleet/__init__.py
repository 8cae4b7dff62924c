"""Run a fleet: who starts when, what a new grid changes, who is started again, and the processes."""
