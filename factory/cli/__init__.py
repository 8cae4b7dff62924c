"""The two commands: they parse, call and print, and decide nothing else."""
