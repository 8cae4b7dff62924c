"""The shipped sketches: one lesson a file, each to be read, run and copied."""

from sketches.board import Board
from sketches.bridge import Bridge
from sketches.buzzer import Buzzer
from sketches.chat import Chat
from sketches.clock import Clock
from sketches.echo import Echo
from sketches.greeting import Greeting
from sketches.iopin import IOPin
from sketches.line import Line
from sketches.rawecho import RawEcho
from sketches.ringchat import RingChat
from sketches.robustgreeting import RobustGreeting
from sketches.rooms import Rooms

# In the order of the lessons; the launcher lists them so.
__all__ = [  # noqa: RUF022
    "Clock",
    "IOPin",
    "Buzzer",
    "Echo",
    "RawEcho",
    "Greeting",
    "RobustGreeting",
    "Line",
    "Bridge",
    "Board",
    "RingChat",
    "Rooms",
    "Chat",
]
