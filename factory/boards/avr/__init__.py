"""Firmware as a board: the machine code runs in a simulator, its pins are those of a board."""
