"""Programs that are run once and come to an end by themselves; whatever happens, nothing of them is left.

The supervisor keeps processes that have to live: to it every end is a crash. These are marked and guarded
like its own, so that they end with the process that started them and are found by their mark when it was
killed.
"""

import asyncio
import itertools
import signal
from datetime import UTC, datetime
from pathlib import Path

from troth.core.process import ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.child import OwnChildren
from troth.hosting.driver import About

_SWEEPS = 3
_serials = itertools.count(1)


class Program:
    """One program, started when it is made. Raises PlatformError when it cannot be started."""

    def __init__(self, spec: ProcessSpec, machine: isolation.Machine, state: Path) -> None:
        self._spec = spec
        serial = next(_serials)
        self._mark = processes.mark(state, f"{spec.name}:once", serial)
        about = About(spec=spec, mark=self._mark, serial=serial, since=datetime.now(UTC))
        self._child = OwnChildren(machine).start(about)
        self._end = asyncio.create_task(self._until_its_end(), name=f"run {spec.name}")

    def interrupt(self) -> None:
        """SIGINT; nothing happens when it has ended."""
        self._child.send(signal.SIGINT)

    async def wait(self) -> int:
        """Its exit status, or minus the number of the signal that ended it, once nothing of it is left."""
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        """SIGTERM, after `stop_seconds` SIGKILL; returns once nothing of it is left."""
        if not self._child.ended.is_set():
            self._child.send(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._child.ended.wait(), self._spec.stop_seconds)
            except TimeoutError:
                self._child.send(signal.SIGKILL)
        await self.wait()

    async def _until_its_end(self) -> int:
        await self._child.ended.wait()
        status = self._child.reap()
        for _ in range(_SWEEPS):
            remains = processes.marked(self._mark)
            if not remains:
                break
            await asyncio.to_thread(processes.end, remains)
        return status


class Programs:
    """Starts programs that belong to one state folder."""

    def __init__(self, state: Path, machine: isolation.Machine) -> None:
        self._state = state
        self._machine = machine

    def start(self, spec: ProcessSpec) -> Program:
        """Start it once. Raises PlatformError when its program is missing, ConfigError when it cannot run as
        another user."""
        return Program(spec, self._machine, self._state)
