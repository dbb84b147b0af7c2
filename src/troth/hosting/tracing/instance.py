"""An application whose requests are traced, as far as the edge says so."""

from troth.core.tracing import Context, Open, read_traceparent, route_of, serving, write_traceparent
from troth.hosting.streams import Application, Message, Receive, Send

_NAME = b"traceparent"
_NOT_FOUND = 404


class Traced:
    """Around an application. With `routes` its paths are the platform's own and are told, without what varies
    in them; of a customer's application nobody knows what a path says."""

    def __init__(self, application: Application, *, routes: bool) -> None:
        self._application, self._routes = application, routes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        told = _told(scope) if scope["type"] == "http" else None
        if told is None or not told[1]:
            await self._application(scope, receive, send)
            return
        with serving(told[0], scope["method"]) as span:
            own = write_traceparent(span.context).encode()
            headers = [(name, own if name == _NAME else value) for name, value in scope["headers"]]
            await self._application({**scope, "headers": headers}, receive, self._noting(scope, send, span))

    def _noting(self, scope: Message, send: Send, span: Open) -> Send:
        span.attributes["http.request.method"] = scope["method"]

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                span.attributes["http.response.status_code"] = status
                span.failed = status >= 500
                if self._routes and status != _NOT_FOUND:
                    route = route_of(scope["path"])
                    span.attributes["http.route"], span.name = route, f"{scope['method']} {route}"
            await send(message)

        return noting


def _told(scope: Message) -> tuple[Context, bool] | None:
    found = [value for name, value in scope["headers"] if name == _NAME]
    return read_traceparent(found[0].decode("latin-1")) if len(found) == 1 else None
