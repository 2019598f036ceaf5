"""A language model of transformers that runs on a tile."""

import numpy as np
import torch

from ...hdl.spec.config import Config
from ..compiler.compile import compile_quantised
from ..compiler.integers import integers_for
from ..formats import huggingface
from ..model.model import Model
from ..model.reference import Reference
from ..quant.quantise import quantise
from ..runtime.verify import GoldenReference
from ..views.notebook import Report, Timetable, table
from ..views.report import report
from .agreement import check_agreement
from .errors import ModuleError
from .tile import Tile


def reads(module: torch.nn.Module) -> bool:
    """Whether a module is a language model of a family that Marey reads from Hugging Face folders."""
    config = getattr(module, "config", None)
    return getattr(config, "model_type", None) in huggingface.FAMILIES and hasattr(config, "to_dict")


def model_of(module: torch.nn.Module) -> Model:
    """The model of a module, through its configuration and its state. FormatError for one that
    Marey cannot do."""
    settings, name = module.config.to_dict(), type(module).__name__
    # A model without a tokenizer may name tokens that it does not have; nothing here ends a text.
    family, config = huggingface.parse_config(
        f"{name}.config", settings | {"bos_token_id": 0, "eos_token_id": None}
    )
    state = {key.removeprefix(family.prefix): value for key, value in module.state_dict().items()}
    headers = {key: (tuple(value.shape), "F32") for key, value in state.items()}
    return huggingface.assemble(name, family, config, headers,
                                lambda key: state[key].detach().to(torch.float32).cpu().numpy())


class CompiledDecoder:
    """A language model on a tile. It is called like the module, with tokens [batch, n], and returns
    an object with `logits`, [batch, n, vocabulary].

    `model`: in floating point. `integers`: in integers. `program`: what the tile runs. `cycles`:
    predicted cycles of a call with tokens like the example; a run that takes others is a
    ScheduleError. `tile`: where it runs.
    """

    def __init__(
        self,
        model: Model,
        module: torch.nn.Module,
        example: torch.Tensor,
        config: Config,
        tile: Tile,
        name: str,
        context: int | None = None,
    ):
        self.model, self.tile, self.name, self._loaded = model, tile, name, False
        tokens = self._checked(example)
        found = _reference_logits(model, tokens)
        check_agreement(name, found.reshape(tokens.size, -1),
                        module(input_ids=example).logits.reshape(tokens.size, -1))
        self.integers = quantise(model, **integers_for(config, model.config, model))
        self.program = compile_quantised(self.integers, config, name=name, context=context)
        self.cycles = self.cycles_of(*tokens.shape)

    def cycles_of(self, batch: int, count: int) -> int:
        """Predicted cycles of a call with `batch` texts of `count` tokens, all of whose logits are made."""
        return batch * sum(self.program.cycles(position) for position in range(count))

    def __call__(self, input_ids: torch.Tensor) -> "Logits":
        """The logits of all tokens, computed by the tile: one token a run, text by text."""
        tokens, device = self._checked(input_ids), self.tile.open()
        if not self._loaded:
            device.load(self.program)
            self._loaded = True
        rows = np.zeros((*tokens.shape, self.model.config.vocab_size), np.float32)
        for text, made in zip(tokens, rows, strict=True):
            for position, token in enumerate(text):
                device.run(int(token), position, 1)
                made[position] = device.logits()
        return Logits(torch.from_numpy(rows))

    def golden(self, input_ids: torch.Tensor) -> "Logits":
        """The same logits, computed by the golden integer model."""
        tokens, reference = self._checked(input_ids), GoldenReference(self.integers)
        rows = [
            [reference.step(text[:count])[1] for count in range(1, len(text) + 1)] for text in tokens.tolist()
        ]
        return Logits(torch.from_numpy(np.array(rows, np.float32)))

    def report(self, position: int = 0) -> Report:
        """The report of `marey report` on the token at a position."""
        return Report(report(self.program, position))

    def timetable(self, position: int = 0) -> Timetable:
        """The timetable of the token at a position."""
        return Timetable(self.program, position)

    def close(self) -> None:
        """Ends the simulation."""
        self._loaded = False
        self.tile.close()

    def _checked(self, tokens):
        vocabulary = self.model.config.vocab_size
        if tokens.dim() != 2 or tokens.is_floating_point() or not tokens.numel():
            raise ModuleError(
                f"{self.name} reads tokens, integers [batch, n], not {tokens.dtype} {list(tokens.shape)}"
            )
        if int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary:
            raise ModuleError(
                f"{self.name} reads tokens 0 to {vocabulary - 1}, not {int(tokens.min())} to "
                f"{int(tokens.max())}"
            )
        return tokens.cpu().numpy().astype(np.int64)

    def _repr_html_(self) -> str:
        return table(f"{self.name} on {self.program.config.name}", self.report()["summary"])

    def __repr__(self):
        cycles = f"{self.program.cycles():,} cycles for the first token"
        return f"<{self.name} on {self.program.config.name}: {cycles}>"


class Logits:
    """The result of a call: `logits`, float32 [batch, n, vocabulary]."""

    def __init__(self, logits: torch.Tensor):
        self.logits = logits


def _reference_logits(model, tokens):
    """Float logits of all tokens, [batch, n, vocabulary]."""
    reference = Reference(model, len(tokens))
    return np.stack(
        [reference.step(tokens[:, position], position) for position in range(tokens.shape[1])], axis=1
    )
