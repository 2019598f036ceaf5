"""The layers of the tree hold: every import goes downwards, and no file or `elaborate` is too long to read.

The layers, and why they lie in this order: docs/architecture.md.
"""

import ast
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
TREES = ("hdl", "sim", "sw", "boards")

HDL = ({"spec"}, {"parts"}, {"sequencer", "mem", "mxm", "vxm", "scalars", "link", "dram"}, {"timing"}, {"tile"},
       {"serial", "verilog", "manual", "cycles"})
SW = ({"errors"}, {"text", "model"}, {"formats", "quant", "program"}, {"compiler"}, {"runtime"}, {"views"},
      {"train"}, {""}, {"serve", "modules"}, {"cli", "package"})
"""Rooms from the lowest layer to the highest. A room imports from lower layers, not from others in its own layer.
"" is the package itself, which offers the API."""
LAYERS = {"hdl": HDL, "sw": SW}
MAY_IMPORT = {"hdl": {"hdl"}, "sim": {"sim", "hdl"}, "sw": {"sw", "sim", "hdl"}, "boards": set(TREES)}
"""By tree, the trees that it may import from; besides, sw/cli may import from boards."""

LONGEST_FILE, LONGEST_ELABORATE, MOST_MEDIAN = 350, 60, 150
"""Lines."""


def modules():
    """Every module of the product by its dotted name, `hdl.tile` for hdl/tile.py: its file and its parsed text."""
    found = {}
    for tree in TREES:
        for path in sorted((ROOT / tree).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path, ast.parse(path.read_text())
    return found


MODULES = modules()


def imports(name):
    """The modules of the product that a module imports, wherever in its text it does."""
    path, text = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(text):
        if isinstance(node, ast.Import):
            targets = [alias.name.removeprefix("marey.").split(".") for alias in node.names if alias.name.startswith("marey")]
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "marey"):
            base = package[:len(package) - node.level + 1] if node.level else []
            base = base + (node.module or "").removeprefix("marey").strip(".").split(".") if node.module else base
            targets = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for target in targets:
            target = ".".join(part for part in target if part)
            # What is imported is a module, or a name in one.
            yield target if target in MODULES else target.rpartition(".")[0]


IMPORTS = {name: sorted(set(imports(name))) for name in MODULES}


def room(name):
    """The room of a module: `mxm` for hdl.mxm.wram, `tile` for hdl.tile."""
    return ".".join(name.split(".")[1:2])


def layer(name):
    """The number of a module's layer in its tree."""
    numbers = [number for number, rooms in enumerate(LAYERS[name.split(".")[0]]) if room(name) in rooms]
    assert numbers, f"{name}: put this room into a layer"
    return numbers[0]


def legal(importer, imported):
    """Whether a module may import another."""
    tree, other = importer.split(".")[0], imported.split(".")[0]
    if other not in MAY_IMPORT[tree]:
        return tree == "sw" and room(importer) == "cli"
    if tree != other or tree not in LAYERS or room(importer) == room(imported):
        return True
    return layer(imported) < layer(importer)


def test_every_import_is_found():
    assert "hdl.spec.config" in IMPORTS["hdl.tile"] and "sim.simulation" in IMPORTS["sim.pysim"]
    assert all(imported in MODULES for found in IMPORTS.values() for imported in found)


def test_imports_go_downwards():
    upward = {(name, imported) for name, found in IMPORTS.items() for imported in found if not legal(name, imported)}
    assert upward == set(), "these go upwards, or sideways: move what is shared into a lower layer"


def test_no_module_imports_itself_by_way_of_others():
    def reached(name, seen):
        for imported in IMPORTS[name]:
            if imported not in seen:
                seen.add(imported)
                reached(imported, seen)
        return seen

    assert {name for name in MODULES if name in reached(name, set())} == set()


def lengths():
    """Lines of every file, by its path, and of every `elaborate`, by path and class."""
    for path, text in MODULES.values():
        where = path.relative_to(ROOT).as_posix()
        yield where, len(path.read_text().splitlines()), LONGEST_FILE
        for owner in (node for node in ast.walk(text) if isinstance(node, ast.ClassDef)):
            for node in owner.body:
                if isinstance(node, ast.FunctionDef) and node.name == "elaborate":
                    yield f"{where}: {owner.name}", node.end_lineno - node.lineno + 1, LONGEST_ELABORATE


def test_files_and_elaborates_are_short():
    assert {where for where, lines, most in lengths() if lines > most} == set()
    assert median(lines for _, lines, most in lengths() if most == LONGEST_FILE) < MOST_MEDIAN
