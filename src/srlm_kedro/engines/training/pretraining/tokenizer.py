"""A tokenizer of the documents' words, with a chat template."""

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END, USER, ASSISTANT = "<pad>", "<unk>", "<eos>", "<user>", "<assistant>"
SPECIAL = (PAD, UNKNOWN, END, USER, ASSISTANT)

_TOKEN = r"\n|\w+|[^\w\s]"
_NO_SPACE_BEFORE = (",", ".", ":", "!", "?", ")", "\n")
_NO_SPACE_BEHIND = ("(", "\n")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{{ message['content'] }}<eos>"
    "{% else %}<user>{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A turn begins with its speaker. An answer ends with the end token."""


def make_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows every word, number, punctuation mark and newline of the texts.

    Decoding and encoding again gives the same ids. Punctuation marks have no space before them.
    """
    pieces = re.compile(f"{'|'.join(SPECIAL)}|{_TOKEN}")
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for piece in pieces.findall(text):
            counts[piece] += times
    words = sorted((word for word in counts if word not in SPECIAL), key=lambda w: (-counts[w], w))
    ids = {word: number for number, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_TOKEN), "removed", invert=True)
    tokenizer.decoder = decoders.Sequence(
        [
            # Each piece except the first gets a space before it; no word starts with this prefix.
            decoders.WordPiece(prefix="\x00", cleanup=False),
            decoders.Fuse(),
            *(decoders.Replace(f" {mark}", mark) for mark in _NO_SPACE_BEFORE),
            *(decoders.Replace(f"{mark} ", mark) for mark in _NO_SPACE_BEHIND),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
