"""Firmware as a board: the machine code of an ATmega328P runs in a simulator, its pins are those of a board."""
