"""The configurations of a tile on the command line: the type of `--config`, and the command configs."""

from dataclasses import asdict

import click
from click.shell_completion import CompletionItem

from ...hdl.spec.config import PRESETS, Config
from ...hdl.spec.field import options
from ...hdl.spec.named import configuration


class ConfigType(click.ParamType):
    """A preset, or a tile of one's own: see `configuration`. ConfigError, in one line, for a bad one."""

    name = "config"

    def get_metavar(self, param, ctx):
        return "PRESET|FILE.toml[,FIELD=N...]"

    def convert(self, value, param, ctx):
        return value if isinstance(value, Config) else configuration(value)

    def shell_complete(self, ctx, param, incomplete):
        return [CompletionItem(name) for name in PRESETS if name.startswith(incomplete)]


CONFIG = click.option("--config", type=ConfigType(), default="sim8x8", show_default=True,
                      help="Configuration of the tile: a preset, a TOML file, or either with other values of fields, such "
                           "as sim8x8,rows=16,cols=16. `marey configs` lists presets and fields.")


def lines():
    """The presets and the fields of a configuration, for people."""
    yield f"{'preset':<22}{'rows':>5}{'cols':>5}{'lanes':>6}{'weights':>8}{'W-RAM':>9}{'MEM':>9}{'program':>8}  profile"
    for config in PRESETS.values():
        wram_kb, mem_kb = config.weights * config.weight_bits / 8 / 1024, config.mem_depth * config.rows * 2 / 1024
        yield (f"{config.name:<22}{config.rows:>5}{config.cols:>5}{config.lanes:>6}{f'int{config.weight_bits}':>8}"
               f"{_size(wram_kb):>9}{_size(mem_kb):>9}{config.program_depth:>8}  {config.profile.name}")
    yield ""
    yield f"{'field':<15}{'legal values':<36}{'default':>8}  meaning"
    for field in options(Config):
        default = "-" if field.default is None else field.default
        yield f"{field.name:<15}{field.legal!s:<36}{default:>8}  {field.meaning}"
    yield ""
    yield "Some fields limit each other; a configuration that breaks such a limit is refused in one line."
    yield "A tile of one's own: --config sim8x8,rows=16,cols=16 or --config FILE.toml, with lines such as"
    yield 'preset = "sim8x8" and rows = 16.'


def _size(kilobytes: float) -> str:
    return f"{kilobytes / 1024:g} MB" if kilobytes >= 1024 else f"{kilobytes:g} KB"


def as_json() -> dict:
    """The same as values that JSON can hold: {"presets", "fields"}."""
    return {"presets": [asdict(config) | {"hash": f"{config.hash:08x}"} for config in PRESETS.values()],
            "fields": [{"name": field.name, "legal": str(field.legal), "default": field.default, "meaning": field.meaning}
                       for field in options(Config)]}
