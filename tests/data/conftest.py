"""What the tests of documents share."""

from support.documents import ada, bob, estate, eve

__all__ = ["ada", "bob", "estate", "eve"]
