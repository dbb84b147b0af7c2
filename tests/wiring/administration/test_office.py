"""How the operator's requests are read."""

import pytest

from support.access import House
from support.office import Operator
from troth.core.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tenant": 7}, "tenant cannot be so: expected str"),
        ({"tenant": None}, "tenant cannot be so: expected str"),
        ({"tenants": "x"}, "There is no argument 'tenants'"),
        ({"tenant": "nobody"}, "There is no tenant 'nobody'"),
    ],
)
async def test_a_request_of_another_shape_is_refused(
    operator: Operator, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        await operator("role.list", **arguments)


async def test_a_missing_argument_is_named(operator: Operator, house: House) -> None:
    with pytest.raises(UsageError, match="missing required field name"):
        await operator("role.remove", tenant=house.tenant.slug)
