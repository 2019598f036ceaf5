"""Chat templates: how a model wants a conversation to be written, as Jinja text that comes with the
model.

The language is that of transformers: https://huggingface.co/docs/transformers/chat_templating.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import FormatError

LIMIT = 1 << 20
"""Characters of a template; a longer one is not read."""
END_NAMES = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>",
             "<|end_of_turn|>", "<|END_OF_TURN_TOKEN|>", "</s>")
"""Special tokens that end a turn, whether or not the model's file says so; llama.cpp knows them, too."""
Message = Mapping[str, str]


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template. FormatError if it is not Jinja.

    `source`: its text. `special`: texts of special tokens by the names that templates have for
    them, such as "bos_token".
    """

    source: str
    special: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if len(self.source) > LIMIT:
            raise FormatError(f"a chat template of {len(self.source)} characters, too large to be one")
        # Here, and not above: Jinja is imported only for a model that has a template.
        from .template import Template
        object.__setattr__(self, "_template", Template(self.source))

    def render(self, messages: Sequence[Message]) -> str:
        """The text of a conversation, up to where the model's answer begins.

        `messages`: {"role", "content"} of each, the roles "system", "user" and "assistant". Special
        tokens are in the text: encode it without any before it. FormatError if the template refuses
        these messages, or cannot do with them.
        """
        return self._template.render(messages=list(messages), add_generation_prompt=True, tools=None, documents=None,
                                     **self.special)
