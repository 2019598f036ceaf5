"""Texts that tokenizers find hard, and drawn ones."""

import random
import textwrap

HARD = [
    "🙂🙃 emoji 👩‍👩‍👧‍👦 flags 🇫🇷🇩🇪, skin 👍🏽", "a    b     c\t\td\n\n\n  e   \n\t f      ", "  leading and trailing   ",
    "\n\n\n\n", " " * 37, "\t" * 9 + " " * 5 + "\n" * 4 + "x",
    "12345 1,234.56 0x1F 2026-11-26 3.14159e-10 ١٢٣ 一二三 ½", "naïve café Ångström ﬁ ﬀ ǆ İ ß ẞ",
    "日本語のテキスト、と句読点。中文，标点！ 한국어 텍스트",
    "Привет, мир! Γειά σου Κόσμε שלום עולם مرحبا بالعالم",
    "don't can't I'll we've they're I'm he'd DON'T I'LL O'Neil ''s",
    "http://example.com/path?x=1&y=2#frag foo_bar camelCase __init__ a->b x!=y ... --- *** ///",
    "\u200b zero\u200bwidth\u00a0nbsp\u2003em\u3000ideographic\u2028line\u2029paragraph\ufeffmark", "\x01\x7f control",
    "a\r\nb\rc\r\n\r\n", "def f(x):\n    if x:\n        return {\n            'a': [1, 2],\n        }\n",
    "e\u0301 combining \u0915\u094d\u0937 ไทย", "1234567890" * 5, "A" * 300, "word " * 200, "'" * 7 + '"' * 5 + "`" * 3]
RANGES = ((0x20, 0x7F), (0xA0, 0x250), (0x300, 0x320), (0x370, 0x400), (0x660, 0x66A), (0x2000, 0x2070), (0x4E00, 0x4E40),
          (0x1F600, 0x1F640))


def hard_texts(special: tuple[str, ...] = (), count: int = 200) -> list[str]:
    """Prose and code of Python's own library, `HARD`, texts drawn of few characters and of many, and special tokens."""
    draw, many = random.Random(0), [chr(code) for first, end in RANGES for code in range(first, end)]
    with open(textwrap.__file__, encoding="utf-8") as file:
        texts = [file.read(), *HARD]
    texts += [f"<|x{name} {name}{name}\n{name}y {name[:-1]}" for name in special]
    for characters in ("ab 1\n\t'.,é🙂<|>_-    ", many):
        texts += ["".join(draw.choices(characters, k=draw.randint(1, 60))) for _ in range(count)]
    return texts
