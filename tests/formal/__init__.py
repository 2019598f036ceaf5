"""Proofs about the hardware, made by Yosys and an SMT solver: see docs/proof.md."""
