"""Who may confirm a write while no member can: nobody.

Patroni then sets `synchronous_standby_names` to `*`, which is whoever receives the log. `pg_receivewal` of
the backups reports a segment as flushed once it is full, and so does the `pg_basebackup` of a member that is
being made: a write would count that no second member has, and would be lost with the leader. Here it waits
for a name that no member has, until Patroni sees one that follows and names it.
"""

import patroni.postgresql
from patroni.collections import CaseInsensitiveDict, CaseInsensitiveSet
from patroni.dcs import Cluster
from patroni.postgresql.config import ConfigHandler
from patroni.postgresql.sync import SyncHandler

NOBODY = "troth_nobody"
"""Names of members have no underscore."""

_NAMES = "synchronous_standby_names"


def without_everybody(names: str | None) -> str | None:
    """Pure: `synchronous_standby_names` as it is set; where everybody stood, nobody."""
    return names.replace("*", NOBODY) if names else names


class Names(ConfigHandler):
    """What writes PostgreSQL's settings in Patroni, with the correction."""

    def get_server_parameters(self, config: dict[str, object]) -> CaseInsensitiveDict:
        """All settings of a server that is to be started."""
        parameters = super().get_server_parameters(config)
        if _NAMES in parameters:
            parameters[_NAMES] = without_everybody(parameters[_NAMES])
        return parameters

    def set_synchronous_standby_names(self, value: str | None) -> bool | None:
        """Set it in a server that runs; whether it was another before."""
        return super().set_synchronous_standby_names(without_everybody(value))


class Confirmations(SyncHandler):
    """What tells Patroni who confirms, with the correction: nobody is no member that has gone."""

    def current_state(self, cluster: Cluster):
        """Who is waited for, and who of them follows."""
        state = super().current_state(cluster)
        return state._replace(sync=CaseInsensitiveSet(state.sync - {NOBODY}))


def install() -> None:
    """Have Patroni use them; before its `main`."""
    patroni.postgresql.ConfigHandler = Names
    patroni.postgresql.SyncHandler = Confirmations
