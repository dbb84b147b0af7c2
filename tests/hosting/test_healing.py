"""Instances that fall ill under load, and what it costs those who ask."""

import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.rounds import in_many_rounds, tell
from support.waiting import until
from support.ward import Ward, open_ward
from troth.core.process import Endpoint
from troth.hosting.cgroups.groups import memory_file
from troth.hosting.judging import Policy

pytestmark = [pytest.mark.chaos, in_many_rounds]

TRIED_SECONDS = 4.5
"""A little less than the edge tries a request for."""

POLICY = Policy(grown_bytes=96 << 20, grown=1.5, gone=2.0)


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with open_ward(tmp_path, POLICY) as ward:
        yield ward


async def test_an_instance_that_errs_is_relieved_and_replaced_by_one_that_does_not(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ill, other = ward.fleet.instances
    began = ward.plant("errs", ill)
    out = await ward.out(ill)
    (seen,) = (one for one in ward.tender.seen if one.name == ill.slot)
    assert other.balanced
    full = await ward.full()
    whole = await ward.whole(changed=False)
    errors = len(ward.lost())
    await ward.served(200)
    assert len(ward.lost()) == errors, "once it is out, nobody meets an error any more"
    assert {answer.status for answer in ward.lost()} == {500}
    assert [(one.slot, one.generation) for one in ward.fleet.instances] == [("web-2", 1), ("web-1", 2)]
    assert [deed.done for deed in ward.tender.deeds] == ["replaced"]
    spent = f"out after {out - began:.1f} s, replaced after {full - began:.1f} s, whole {whole - began:.1f} s"
    tell(capsys, f"erring one: {spent}, {errors} errors of its own, noticed at {seen.recent}")


@in_many_rounds
async def test_an_instance_that_is_stopped_by_a_signal_costs_no_request(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    began = ward.send(signal.SIGSTOP, ward.fleet.instances[0])
    await until(lambda: bool(ward.tender.deeds), 30.0)
    ended = ward.tender.deeds[-1]
    whole = await ward.whole(changed=False)
    await ward.served(200)
    assert (ended.illness, ended.done) == ("stopped", "ended")
    assert ward.lost() == []
    tell(capsys, f"stopped one: {whole - began:.1f} s until whole, 0 of {ward.good} requests lost")


@in_many_rounds
@pytest.mark.parametrize(("fault", "illness"), [("hangs", "hung"), ("spins", "spinning")])
async def test_an_event_loop_that_hangs_costs_no_request_and_leaves_its_traceback(
    ward: Ward, capsys: pytest.CaptureFixture[str], fault: str, illness: str
) -> None:
    ill = ward.fleet.instances[0]
    began = ward.plant(fault, ill)
    out = await ward.out(ill)
    await until(lambda: ill.phase == "failed", 60.0)
    seconds = time.monotonic() - began
    (ward.folder / f"{ill.slot}-{ill.generation}.{fault}").unlink()
    whole = await ward.whole(changed=False)
    await ward.served(200)
    assert ward.tender.deeds[0].illness == illness
    assert out - began < seconds, "others serve for it long before it is ended"
    # A loop that computes on a busy machine gets little of it, and is not blamed for what it did not get.
    assert ward.lost() == [] or seconds > TRIED_SECONDS
    function = "wait_for_ever" if fault == "hangs" else "compute_for_ever"
    evidence = ill.exit.evidence if ill.exit is not None else None
    assert evidence is not None and f"in {function}" in evidence.read_text()
    spent = f"out after {out - began:.1f} s, ended {seconds:.1f} s, whole {whole - began:.1f} s"
    tell(capsys, f"{illness} one: {spent}, {len(ward.lost())} of {ward.good} requests lost")


@in_many_rounds
async def test_a_call_that_blocks_for_a_second_is_waited_for_elsewhere_and_ends_nobody(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = ward.fleet.instances[0]
    began = ward.plant("blocks", ill)
    out = await ward.out(ill)
    back = await ward.full()
    await ward.served(200)
    assert (ill in ward.fleet.instances, ill.phase, len(ward.tender.deeds)) == (True, "ready", 0)
    assert ward.lost() == []
    tell(capsys, f"blocking call: out after {out - began:.1f} s, serves again after {back - began:.1f} s")


@in_many_rounds
async def test_a_killed_instance_is_back_and_costs_no_request(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    began = ward.send(signal.SIGKILL, ward.fleet.instances[0])
    whole = await ward.whole()
    await ward.served(200)
    assert ward.lost() == []
    tell(capsys, f"killed one: {whole - began:.1f} s until whole, 0 of {ward.good} requests lost")


@in_many_rounds
async def test_an_instance_that_leaks_is_replaced_without_an_error(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = ward.fleet.instances[0]
    began = ward.plant("leaks", ill)
    await until(lambda: ill not in ward.fleet.instances, 60.0)
    whole = await ward.whole(changed=False)
    await ward.served(200)
    assert ward.tender.deeds[0].illness == "leaking"
    assert ward.lost() == []
    tell(capsys, f"leaking one: {whole - began:.1f} s until whole, 0 of {ward.good} requests lost")


@in_many_rounds
async def test_an_instance_that_eats_memory_at_once_ends_alone_and_costs_no_request(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ill, other = ward.fleet.instances
    assert ill.process is not None
    held = memory_file(ill.process.groups) is not None
    assert held or ward.groups.report().why_not
    began = ward.plant("eats", ill)
    await until(lambda: ill.phase == "failed" if held else ill not in ward.fleet.instances, 60.0)
    (ward.folder / f"{ill.slot}-{ill.generation}.eats").unlink()
    whole = await ward.whole(changed=False)
    await ward.served(200)
    if held:
        assert ill.exit is not None and ill.exit.evidence is not None
        assert "for want of memory" in ill.exit.evidence.read_text()
    assert other.exit is None and other in ward.fleet.instances
    assert ward.lost() == []
    ended = "ended by the kernel" if held else "replaced, for no group holds it"
    tell(capsys, f"one that eats: {ended}, {whole - began:.1f} s until whole, 0 of {ward.good} requests lost")


@in_many_rounds
async def test_an_instance_whose_own_path_of_health_fails_is_replaced(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = ward.fleet.instances[0]
    began = ward.plant("sick", ill)
    out = await ward.out(ill)
    full = await ward.full()
    await until(lambda: ill not in ward.fleet.instances, 30.0)
    whole = await ward.whole(changed=False)
    await ward.served(200)
    assert ward.tender.deeds[0].illness == "silent"
    assert ward.lost() == []
    spent = f"out after {out - began:.1f} s, replaced after {full - began:.1f} s, whole {whole - began:.1f} s"
    tell(capsys, f"own health fails: {spent}, 0 of {ward.good} requests lost")


@in_many_rounds
async def test_instances_that_all_err_alike_raise_an_alarm_and_nobody_is_replaced(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ward.fleet.instances
    began = ward.plant("errs")
    await until(lambda: bool(ward.alarms), 30.0)
    tell(capsys, f"all err alike: alarm after {time.monotonic() - began:.1f} s")
    await ward.served(300)
    assert ward.fleet.instances == before
    assert all(one.balanced for one in before)
    assert len(ward.tender.deeds) == 0
    assert ward.alarms[0].release == "one"


@in_many_rounds
async def test_a_replacement_that_does_not_come_up_leaves_the_old_one_serving(ward: Ward) -> None:
    ill = ward.fleet.instances[0]
    ward.plant("broken")
    ward.plant("errs", ill)
    await until(lambda: bool(ward.tender.deeds), 30.0)
    assert ward.tender.deeds[0].done == "kept"
    assert ill in ward.fleet.instances and ill.balanced
    await ward.served(100)
    assert ward.tender.deeds[-1].done == "kept"


@in_many_rounds
async def test_an_instance_that_ends_in_a_loop_is_started_less_and_less_often(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ward.plant("broken")
    ill = ward.fleet.instances[0]
    began = ward.send(signal.SIGKILL, ill)
    assert ill.process is not None
    await until(lambda: bool(ward.tender.deeds), 60.0)
    await ward.served(500)
    assert 2 <= ill.process.restarts <= 9
    assert ward.lost() == []
    starts, seconds = ill.process.restarts, time.monotonic() - began
    for file in ward.folder.glob("*.broken"):
        file.unlink()
    mended = time.monotonic()
    whole = await ward.whole(changed=False)
    spent = f"started {starts} times in {seconds:.0f} s, whole {whole - mended:.1f} s after it was mended"
    tell(capsys, f"ends in a loop: {spent}, 0 of {ward.good} requests lost")


@in_many_rounds
async def test_a_new_one_that_starts_slowly_gets_nothing_before_it_can_answer(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ward.plant("slow")
    began = ward.send(signal.SIGKILL, ward.fleet.instances[0])
    whole = await ward.whole()
    await ward.served(200)
    assert ward.lost() == []
    tell(capsys, f"slow start: {whole - began:.1f} s until whole, 0 of {ward.good} requests lost")


def took(thief: socket.socket, place: Endpoint) -> bool:
    """Whether a port could be had in the moment in which nobody holds it."""
    with contextlib.suppress(OSError):
        thief.bind((place.host, place.port))
        return True
    return False


@in_many_rounds
async def test_whose_port_was_stolen_comes_up_elsewhere(
    ward: Ward, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = ward.fleet.instances[0]
    ward.plant("slow", ill)
    began = ward.send(signal.SIGKILL, ill)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await until(lambda: took(thief, ill.endpoint))
        thief.listen()
        await until(lambda: ill not in ward.fleet.instances, 60.0)
        whole = await ward.whole(changed=False)
        await ward.served(200)
    tell(capsys, f"port stolen: {whole - began:.1f} s until whole, 0 of {ward.good} requests lost")
    assert {one.endpoint for one in ward.fleet.instances}.isdisjoint({ill.endpoint})
    assert ward.lost() == []
    assert ward.tender.deeds[0].illness == "gone"


class Jumping:
    """A clock that somebody sets."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@in_many_rounds
async def test_a_clock_of_the_keeper_that_jumps_makes_nobody_ill_and_nothing_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine's clock cannot be set here; what waits and judges asks the monotonic one."""
    clock = Jumping()
    async with open_ward(tmp_path, POLICY, clock) as ward:
        for hours in (1, -1, 24 * 400, 0):
            clock.ahead = timedelta(hours=hours)
            await ward.served(150)
        assert len(ward.tender.deeds) == 0 and ward.alarms == []
        clock.ahead = timedelta(hours=-2)
        began = ward.send(signal.SIGKILL, ward.fleet.instances[0])
        clock.ahead = timedelta(hours=2)
        whole = await ward.whole()
        await ward.served(200)
        assert ward.lost() == []
    tell(capsys, f"the keeper's clock jumps: killed meanwhile, whole after {whole - began:.1f} s, 0 lost")
