"""Mutations of hardware and software, and whether the tests find them: `python -m tests.mutants`, see docs/mutants.md."""

import os

# As in CI, tests draw the same examples for each mutation: it is set before they are imported.
os.environ["CI"] = "1"
