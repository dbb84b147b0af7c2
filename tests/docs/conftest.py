"""One running platform for the examples of all pages."""

from support.platform import platform

__all__ = ["platform"]
