"""Transports: they carry whole messages between two processes, and decide nothing."""
