"""Distances between instructions that the slices' latencies fix."""

from ...hdl.mxm.mxm import Mxm
from ...hdl.spec.config import Config
from ...hdl.timing import mxm_beat, vxm_beat
from ...hdl.vxm.vxm import Vxm


def stream_offset(config: Config, inner: int) -> int:
    """Cycles from the issue of an MXM to that of the VXM that takes its results.

    The VXM's first beat meets the first granule of the first result. `inner`: beats of a result.
    """
    return take_offset(config, inner - 1 + Mxm.latency(config))


def take_offset(config: Config, latency: int) -> int:
    """Like `stream_offset`, if the first granule leaves the MXM `latency` cycles after the MXM's
    first beat."""
    return mxm_beat(config) + latency - Vxm.STREAM_LATENCY - vxm_beat(config)
