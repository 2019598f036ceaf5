"""Configurations by a text: presets, files, changes; and what a bad text is told."""

import re
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import PRESETS, Config, ConfigError, preset
from marey.hdl.spec.field import options
from marey.hdl.spec.named import configuration
from tests.configs import any_config

FIELDS = [field.name for field in options(Config)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, where files have short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_preset_and_its_changes():
    assert all(configuration(name) == config for name, config in PRESETS.items())
    wide = configuration("sim8x8,rows=16, cols = 16")
    assert wide == replace(preset("sim8x8"), rows=16, cols=16, name=wide.name)
    assert configuration(wide.name) == wide
    assert configuration("sim8x8,rows=8").hash == preset("sim8x8").hash


@given(any_config)
def test_a_file_has_every_field(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "drawn.toml"
    fields = asdict(config)
    path.write_text("".join(f"{name} = {fields[name]}\n" for name in FIELDS))
    found = configuration(str(path))
    assert replace(found, name=config.name) == config and found.name == str(path)


def test_a_file_with_a_preset_and_changes(folder):
    (folder / "a,b.toml").write_text('preset = "sim4x4"  # a comment\nwram_depth = 64\n')
    assert configuration("a,b.toml") == replace(preset("sim4x4"), wram_depth=64, name="a,b.toml")
    assert configuration("a,b.toml,wram_depth=32").wram_depth == 32


@pytest.mark.parametrize(("text", "word"), [
    ("nonesuch", "there are sim8x8"), ("", "there are sim8x8"), ("nonesuch,rows=8", "there are sim8x8"),
    ("sim8x8,", "write FIELD=NUMBER"), ("sim8x8,rows", "write FIELD=NUMBER"), ("sim8x8,rows=x", "write FIELD=NUMBER"),
    ("sim8x8,rows=8,", "write FIELD=NUMBER"), ("sim8x8,rows=" + "9" * 5000, "write FIELD=NUMBER"),
    ("sim8x8,row=8", "did you mean rows"), ("sim8x8,=8", "there are rows"), ("sim8x8,name=8", "there are rows"),
    ("sim8x8,rows=8,rows=8", "gives rows twice"), ("sim8x8,rows=12", "rows must be a power of two from 1 to 64, not 12"),
    ("sim8x8,lanes=16", "must divide rows"), ("sim8x8,gelu=2", "gelu must be 0 or 1, not 2"),
    ("sim8x8,wram_depth=9999999999999", "more than the link can address"),
    ("none.toml", "none.toml: No such file"), (".toml,rows=8", ".toml: No such file"),
    ("folder.toml", "folder.toml: Is a directory"),
])
def test_a_bad_text_is_told_in_one_line(folder, text, word):
    (folder / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=re.escape(word)) as caught:
        configuration(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("content", "word"), [
    (b"", 'lacks rows, cols, lanes, wram_depth, mem_depth: add them, or a line preset = "sim8x8"'),
    (b"rows = ", "no TOML text"), (b"\xff\xfe", "no TOML text"), (b"rows = 1\nrows = 2", "no TOML text"),
    (b"[" * 20_000, "no TOML text"), (b"#" * 70_000, "too large"), (b"preset = 3", "name of a preset in quotes"),
    (b'preset = "nonesuch"', "x.toml: no configuration 'nonesuch': there are"),
    (b'preset = "sim8x8"\nrow = 8', "did you mean rows"),
    (b'preset = "sim8x8"\nrows = "8"', "rows must be"), (b'preset = "sim8x8"\nrows = true', "rows must be"),
    (b'preset = "sim8x8"\nrows = 8.0', "rows must be"), (b'preset = "sim8x8"\n[rows]\nx = 1', "rows must be"),
    (b'preset = "sim8x8"\n"a\\nb" = 1', "no field"),
])
def test_a_bad_file_is_told_in_one_line(folder, content, word):
    (folder / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(word)) as caught:
        configuration("x.toml")
    assert "x.toml" in str(caught.value) and len(str(caught.value).splitlines()) == 1


CHANGES = st.lists(st.builds("{}={}".format, st.sampled_from([*FIELDS, "x"]), st.integers(-1, 70)), max_size=3)


@settings(max_examples=40)
@given(st.text(max_size=20) | CHANGES.map(lambda changes: ",".join(["sim8x8", *changes])))
def test_any_text_is_a_configuration_or_refused(text):
    try:
        found = configuration(text)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert configuration(found.name) == found
