"""Rings: the members of a group, each linked to its two neighbours."""
