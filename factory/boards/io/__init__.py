"""Boards on sockets, terminals and the mesh: the only part of ``factory.boards`` that waits for anything."""
