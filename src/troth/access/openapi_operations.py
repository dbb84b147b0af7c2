"""How one operation of sessions or administration is described."""

from troth.access.openapi_schemas import Node, reference


def operation(
    identifier: str,
    summary: str,
    answers: Node,
    *,
    scope: str = "",
    problems: tuple[str, ...] = (),
    parameters: tuple[Node, ...] = (),
    body: str = "",
) -> Node:
    """With every answer that it can have; without a scope, it is about one's own session."""
    described: Node = {
        "operationId": identifier,
        "summary": summary,
        "tags": ["administration" if scope else "session"],
        "security": [{"oauth2": [scope] if scope else []}],
        "parameters": list(parameters),
        "responses": answers
        | {
            status: {"$ref": f"#/components/responses/Problem{status}"}
            for status in dict.fromkeys(("401", *(("403",) if scope else ()), *problems, "503"))
        },
    }
    if body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference(body)}},
        }
    return described


def answered(name: str, *headers: str) -> Node:
    """JSON of this schema."""
    return {
        "description": "As asked.",
        "headers": {header: {"$ref": f"#/components/headers/{header}"} for header in headers},
        "content": {"application/json": {"schema": reference(name)}},
    }


DONE: Node = {"204": {"description": "Done."}}
PAGING: tuple[Node, ...] = (
    {"$ref": "#/components/parameters/After"},
    {"$ref": "#/components/parameters/Limit"},
)
ONE: tuple[Node, ...] = ({"$ref": "#/components/parameters/Id"},)
TAG: tuple[Node, ...] = ({"$ref": "#/components/parameters/IfMatch"},)
MAYBE_TAG: tuple[Node, ...] = ({"$ref": "#/components/parameters/IfMatchOptional"},)
BODY = ("400", "413", "415", "422")


def listed(identifier: str, summary: str, name: str, scope: str, *, paged: bool = True) -> Node:
    """What answers with items and where the next page begins."""
    return operation(
        identifier,
        summary,
        {"200": answered(f"{name}Page")},
        scope=scope,
        parameters=PAGING if paged else (),
        problems=("400",) if paged else (),
    )
