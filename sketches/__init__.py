"""The shipped sketches: one lesson a file, each to be read, run and copied."""

from sketches.buzzer import Buzzer
from sketches.clock import Clock
from sketches.iopin import IOPin
from sketches.ringchat import RingChat

# In the order of the lessons; the launcher lists them so.
__all__ = ["Clock", "IOPin", "Buzzer", "RingChat"]  # noqa: RUF022
