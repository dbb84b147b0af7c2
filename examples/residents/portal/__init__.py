"""A residents' portal: tickets and announcements for the people of a house.

An ASGI application like any other. It keeps no data, no session and no key: the edge hands it the person's
access token with each request, and it asks the data API with that token.
"""

from .application import create_app

app = create_app()

__all__ = ["app", "create_app"]
