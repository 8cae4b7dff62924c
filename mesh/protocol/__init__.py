"""Sans-I/O cores: no asyncio, no sockets, no clock and no files in here."""
