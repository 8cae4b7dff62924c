"""Rooms: channels with members. What is here knows no sockets, no clock and no loop."""
