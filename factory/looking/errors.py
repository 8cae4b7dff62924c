"""Why a node could not be looked into."""

from __future__ import annotations

from mesh.errors import MeshError


class NotReachedError(MeshError):
    """A node that was named is unknown, down, or was not reached in time."""


class SilentNodeError(MeshError):
    """A node runs, and has not answered in time."""
