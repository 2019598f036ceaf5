"""Chat templates: what models of several families come with, and what goes wrong in them."""

import pytest

from marey.sw.errors import FormatError
from marey.sw.text.chat import ChatTemplate

SMOLLM2 = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if tools is not none %}{{- raise_exception("no tools here") }}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% endif %}{% endfor %}")
TURNS = [{"role": "user", "content": " Hi "}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "<b>&é"}]
SYSTEM = [{"role": "system", "content": "Be brief."}]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize(("source", "messages", "expected"), [
    (SMOLLM2, TURNS[:1], "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                         "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n"),
    (SMOLLM2, SYSTEM + TURNS, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
                              "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\n<b>&é<|im_end|>\n<|im_start|>assistant\n"),
    (LLAMA3, SYSTEM + TURNS[:1], "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
                                 "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                                 "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    (MISTRAL, TURNS, "<s>[INST]  Hi  [/INST]Hello!</s>[INST] <b>&é [/INST]"),
    ("{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m | tojson }}{% endfor %}",
     SYSTEM + TURNS[2:], '{"role": "user", "content": "<b>&é"}'),
    ("{% generation %}{{ strftime_now('%%') }}{{ unknown_token }}\n{% endgeneration %}\nx", [], "%\nx"),
])
def test_templates(source, messages, expected):
    """What transformers makes of them: `test_interop.py` compares."""
    assert ChatTemplate(source, SPECIAL).render(messages) == expected


@pytest.mark.parametrize(("source", "word"), [
    (MISTRAL, "roles must alternate"), ("{{ messages[0].content.x.y }}", "has no attribute"), ("{{ 1 / 0 }}", "division"),
    ("{{ messages.append(1) }}", "unsafe"), ("{{ ''.__class__.__mro__ }}", "unsafe"), ("{{ range(10**9) | list }}", "range"),
    ("{{ messages[0] + 1 }}", "unsupported operand"), ("{% include 'x' %}", "no loader"),
])
def test_what_a_template_may_not_do_is_one_line(source, word):
    with pytest.raises(FormatError, match=f"refuses this conversation: .*{word}") as caught:
        ChatTemplate(source, SPECIAL).render(SYSTEM + TURNS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["{% for %}", "{{", "{% nonsense %}", "x" * (1 << 21)])
def test_what_is_no_template_is_one_line(source):
    with pytest.raises(FormatError, match="chat template"):
        ChatTemplate(source)
