"""Frozen records, events, protocols and paths that every other package may import; it imports none of them."""
