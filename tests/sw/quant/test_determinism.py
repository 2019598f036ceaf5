"""The same model file gives the same integers on every machine, whatever its processor and its BLAS."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quantise import quantise
digest = hashlib.sha256()
for family in ("llama", "gpt2"):
    config = ModelConfig(dim=48, hidden_dim=80, n_layers=2, n_heads=4, n_kv_heads=4, vocab_size=90, seq_len=64, family=family)
    for bits in (8, 4):
        model = quantise(tiny_model(config), bits)
        for linear in model.linears.values():
            digest.update(linear.weight.tobytes() + linear.multiplier.tobytes() + str((linear.shift, linear.rescale)).encode())
        for vector in model.vectors.values():
            digest.update(vector.tobytes())
        digest.update(str((model.shifts, model.epsilon, model.logit_unit)).encode())
print(digest.hexdigest())
"""
MACHINES = {
    "this one": {},
    "an old BLAS kernel": {"OPENBLAS_CORETYPE": "Nehalem"},
    "another BLAS kernel, one thread": {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"},
    "no vector instructions of today": {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX"},
}
"""Environments in which OpenBLAS and numpy compute as on other processors, with other last bits."""


@pytest.fixture(scope="module")
def digests():
    def run(environment):
        found = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], env=os.environ | environment, text=True,
                               capture_output=True, check=True)
        return found.stdout.strip()

    return {name: run(environment) for name, environment in MACHINES.items()}


def test_the_integers_do_not_depend_on_the_machine(digests):
    assert len(set(digests.values())) == 1, digests
