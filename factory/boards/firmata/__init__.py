"""Firmata, sans-I/O: one codec, the board that speaks it and the client that does."""
