"""Rooms on connections: sockets, timers, the event loop."""
