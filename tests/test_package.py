"""`import marey` takes no time and needs no PyTorch; what it offers is there when it is asked for."""

import subprocess
import sys

import pytest

CODE = """
import sys
import marey
assert not [name for name in sys.modules if name.startswith("marey.")], "it imports more than itself"
assert "numpy" not in sys.modules
assert {"compile", "Program", "__version__"} <= set(dir(marey))
assert marey.preset("sim8x8").rows == 8 and marey.Program.__name__ == "Program"
assert callable(marey.compile) and "torch" not in sys.modules
assert marey.__version__[0].isdigit()
try:
    marey.nothing
except AttributeError as error:
    assert "no attribute 'nothing'" in str(error)
else:
    raise AssertionError
sys.modules["torch"] = None
try:
    marey.compile(None, None)
except Exception as error:
    assert str(error) == "PyTorch is not installed: pip install 'marey[torch]'", error
else:
    raise AssertionError
"""


def test_names_are_imported_when_they_are_used():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Decoder", "compile_model", "open_device"])
def test_the_package_offers_what_sw_does(name):
    import marey
    from marey import sw

    assert getattr(marey, name) is getattr(sw, name) and set(sw.__all__) == set(marey.OFFERED)
