"""What the store says when it cannot be used."""

from __future__ import annotations


class StoreError(ValueError):
    """The store cannot be opened or read; the message is one sentence: what is wrong, what is allowed."""
