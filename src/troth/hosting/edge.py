"""The edge's configuration as a pure function of the platform's state (Caddy's JSON)."""

from typing import Any

from troth.hosting.edge_state import EdgeState


def render(state: EdgeState) -> dict[str, Any]:
    """The whole configuration for Caddy."""
    raise NotImplementedError
