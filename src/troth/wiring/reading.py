"""Checking troth.toml for a platform on this machine, at the start and when it is read again."""

import msgspec

from troth.core.config import Settings
from troth.core.state import State
from troth.data.backups.installing import refuse_half_restored
from troth.data.collections import load_collections
from troth.data.places import find_places
from troth.hosting.plan import Launch
from troth.wiring.alert_targets import check_targets
from troth.wiring.database import find_programs
from troth.wiring.external_database import check_external
from troth.wiring.places import check_size, present_members
from troth.wiring.resuming import effective_settings
from troth.wiring.tracing import check_tracing


def read_again(launch: Launch, state: State, running: Settings) -> Settings:
    """The file as it is now, while the platform runs. Raises ConfigError, naming the promise at stake.

    Members come and go by `troth replicas`: a file that names as many as there are by now says nothing new.
    """
    settings = effective_settings(launch)
    check(settings)
    if settings.database.members == len(present_members(state)):
        members = running.database.members
        database = msgspec.structs.replace(settings.database, members=members)
        settings = msgspec.structs.replace(settings, database=database)
    return settings


def check(settings: Settings, state: State | None = None) -> None:
    """All that can be known before anything starts. Raises ConfigError naming the promise at stake."""
    find_places(settings)
    load_collections(settings.collections)
    check_targets(settings)
    check_tracing(settings)
    if settings.database.hosts:
        check_external(settings)
        return
    find_programs(settings.database.binaries)
    if state is not None:
        refuse_half_restored(state)
        check_size(state, settings.database.members)
