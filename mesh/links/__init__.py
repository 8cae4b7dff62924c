"""Links at work: the sans-I/O core of ``mesh.protocol.link`` on asyncio and a transport."""
