"""The check that a graph computes what its module computes."""

import numpy as np
import torch

from .errors import ModuleError

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""The largest difference from the module's result, as a part of its largest magnitude, by the
module's type: float32 is off by some 1e-6 after hundreds of operations. Other types have fewer
bits, and may be off by `COARSE`."""
COARSE = 0.05


def check_agreement(name: str, found: np.ndarray, expected: torch.Tensor) -> None:
    """ModuleError if the graph's float result, [batch, channels], is not the module's."""
    values = expected.detach().to(torch.float64).cpu().numpy()
    if not np.isfinite(values).all():
        raise ModuleError(f"{name}: the module's own result for the example is not finite")
    if found.shape != values.shape:
        raise ModuleError(
            f"{name}: the graph makes {list(found.shape)} values, and the module {list(values.shape)}"
        )
    largest, off = float(np.abs(values).max()), float(np.abs(found - values).max())
    if off > TOLERANCE.get(expected.dtype, COARSE) * max(largest, 1e-30):
        raise ModuleError(
            f"{name}: the graph's result differs from the module's by up to {off:.3g}, and the largest is "
            f"{largest:.3g}: the module computes something that Marey's graph does not say"
        )
