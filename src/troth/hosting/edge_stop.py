"""Stopping the edge, which waits for every answer that it carries, and applications that hold some open."""

import asyncio
from collections.abc import Iterable

from troth.hosting.instances import Fleet
from troth.hosting.supervisor import Supervised

_FORWARDED_SECONDS = 1.0
"""By then an edge that accepts nothing any more has passed on what it had accepted."""


async def stop_edge(edge: Supervised, applications: Iterable[Fleet]) -> None:
    """Applications follow the ends of sessions in streams through the edge, and it waits for streams: they
    are stopped while it stops, once it has given them all that had come from outside."""
    stopping = asyncio.create_task(edge.stop(), name="stop the edge")
    await asyncio.wait((stopping,), timeout=_FORWARDED_SECONDS)
    await asyncio.gather(stopping, *(fleet.stop() for fleet in applications))
