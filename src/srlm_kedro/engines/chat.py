"""One rendering of a user's turn, shared by sampling and training. Imports nothing heavy."""

from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from srlm_kedro.errors import InputError

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "### {{ message['role'] | capitalize }}:\n{{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""The format of a model whose tokenizer has no chat template: each turn under a heading."""


def render(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of `prompt` as one user turn, up to where the assistant's text begins.

    Text of the user that looks like a special token stays text: it cannot end the turn.
    """
    return render_all(tokenizer, [prompt])[0]


def render_all(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """`render` of each prompt."""
    return render_chats(tokenizer, [[{"role": "user", "content": prompt}] for prompt in prompts])


def render_chats(tokenizer: Any, chats: Sequence[list[dict[str, str]]]) -> list[list[int]]:
    """Token ids of each chat (roles and contents), up to where the assistant's text begins.

    Raises:
        InputError: The template fails, or the tokenizer cannot write a special token as text.
    """
    if not chats:
        return []
    try:
        return tokenizer.apply_chat_template(
            list(chats),
            chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    except (ValueError, TemplateError) as error:
        raise InputError(
            f"{tokenizer.name_or_path}: its chat template cannot render the prompts: {error}. "
            "Correct the prompts, or the checkpoint's chat template."
        ) from error


def render_completion(tokenizer: Any, completion: str) -> list[int]:
    """Token ids of an assistant's text and the end token, to stand behind `render`'s."""
    ids = tokenizer(completion, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def raw_all(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts to continue: the tokenizer's opening token if it has one, no end token."""
    if not texts:
        return []
    rows = tokenizer(list(texts), split_special_tokens=True)["input_ids"]
    return [_without_end(row, tokenizer.eos_token_id) for row in rows]


def _without_end(ids: list[int], end: int | None) -> list[int]:
    return ids[:-1] if ids and ids[-1] == end else ids
