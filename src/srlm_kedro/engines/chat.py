"""Chats as token ids: one rendering for sampling and for training. Imports nothing heavy."""

import json
from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from srlm_kedro.engines import thoughts
from srlm_kedro.errors import InputError, summary

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "### {{ message['role'] | capitalize }}:\n{{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""The format of a model whose tokenizer has no chat template: a heading before each turn."""

_QUESTION, _ANSWER = "question-to-look-behind", "answer-to-look-behind"
"""Texts that are rendered to find out what the template writes around them."""


def render_chats(
    tokenizer: Any, chats: Sequence[list[dict[str, str]]], suffix: str = ""
) -> list[list[int]]:
    """Token ids of each chat, up to where the assistant's text begins.

    Text of the user that looks like a special token stays text: it cannot end the turn.

    Args:
        tokenizer: Its chat template is used, or the plain format if it has none.
        chats: Messages with `role` and `content`.
        suffix: Text that follows each chat. It is tokenised as a part of the template.

    Raises:
        InputError: The template fails, or the tokenizer cannot write a special token as text.
    """
    if not chats:
        return []
    try:
        return tokenizer.apply_chat_template(
            list(chats),
            chat_template=_template(tokenizer, suffix),
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    except (ValueError, TemplateError) as error:
        raise _cannot_render(tokenizer, error) from error


def render_for_answers(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt as one user turn, up to where its answer begins.

    For a model that thinks, an empty thought precedes the answer. The chat template itself writes
    it between a prompt and an answer without a thought.
    """
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    return render_chats(tokenizer, chats, answer_opening(tokenizer))


def render_completions(
    tokenizer: Any, completions: Sequence[str], complete: Sequence[bool]
) -> list[list[int]]:
    """Token ids of each of the assistant's texts and its `end_of_turn`; they follow a prompt's ids.

    A text that is not `complete` was cut. Its writer never ended it, so no end token follows.

    Raises:
        InputError: A text gives no token at all: it is empty and was cut.
    """
    if not completions:
        return []
    end = end_of_turn(tokenizer)
    rows = tokenizer(list(completions), add_special_tokens=False, split_special_tokens=True)
    made = [
        [*ids, end] if ended else list(ids)
        for ids, ended in zip(rows["input_ids"], complete, strict=True)
    ]
    if faults := [f"text {at}: {completions[at]!r}" for at, ids in enumerate(made) if not ids]:
        heading = (
            f"Completions: {len(faults)} of {len(made)} have no token and no end, so there is "
            "nothing to learn from them. Drop them."
        )
        raise InputError(summary(heading, faults))
    return made


def render_raw(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts to continue: an opening token if the tokenizer has one, no end token."""
    if not texts:
        return []
    rows = tokenizer(list(texts), split_special_tokens=True)["input_ids"]
    return [_without_end(row, tokenizer.eos_token_id) for row in rows]


def end_of_turn(tokenizer: Any) -> int | None:
    """The token that ends an assistant's text in training, and completions in sampling.

    It is the special token that the chat template writes directly after such a text. In ChatML
    that is `<|im_end|>`, also for a base model whose own end token is another. It is the
    tokenizer's end token if the template writes none, or if there is no template.
    """
    if not tokenizer.chat_template:
        return tokenizer.eos_token_id
    after_answer = _text_after_question(tokenizer, generating=False).rpartition(_ANSWER)[2].lstrip()
    special = {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special and after_answer.startswith(token.content)
    }
    return special[max(special, key=len)] if special else tokenizer.eos_token_id


def completion_start(tokenizer: Any) -> str:
    """What the template writes between a question and a completion; empty without a template."""
    return _text_after_question(tokenizer, generating=True)


def opened_thought(tokenizer: Any) -> str:
    """The thought that the chat template opens for each completion, from its opening mark on.

    It is empty for most models. For R1 and QwQ it is `<think>` and a line break: their completions
    hold only the mark that ends the thought.
    """
    return thoughts.opened(completion_start(tokenizer))


def answer_opening(tokenizer: Any) -> str:
    """What follows a prompt before an answer without a thought; empty if nothing does.

    The template shows it if it writes answers after what opens a completion. If it does not, the
    thought that the template opened is closed.
    """
    start = completion_start(tokenizer)
    before_answer = _text_after_question(tokenizer, generating=False).partition(_ANSWER)[0]
    more = before_answer.removeprefix(start) if before_answer.startswith(start) else ""
    if thoughts.has_marks(more):
        return more
    left_open = thoughts.opened(start)
    return thoughts.closing(left_open) if left_open else ""


def _template(tokenizer: Any, suffix: str) -> str | None:
    """The template to render with; None for the tokenizer's own."""
    if not suffix:
        return None if tokenizer.chat_template else PLAIN_TEMPLATE
    # Jinja drops a line break at the end of a template.
    whole = tokenizer.get_chat_template().removesuffix("\n")
    return f"{whole}{{{{ {json.dumps(suffix, ensure_ascii=False)} }}}}"


def _text_after_question(tokenizer: Any, generating: bool) -> str:
    """What the template writes after a question.

    With `generating` it is the text that a completion follows. Otherwise it is an answer with all
    that surrounds it. It is empty without a template: the plain format has no marks.
    """
    if not tokenizer.chat_template:
        return ""
    turns = [{"role": "user", "content": _QUESTION}]
    turns += [] if generating else [{"role": "assistant", "content": _ANSWER}]
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=generating
        )
    except (ValueError, TemplateError) as error:
        raise _cannot_render(tokenizer, error) from error
    return text.rpartition(_QUESTION)[2]


def _cannot_render(tokenizer: Any, error: Exception) -> InputError:
    return InputError(
        f"{tokenizer.name_or_path}: its chat template cannot render the prompts: {error}. "
        "Correct the prompts, or the checkpoint's chat template."
    )


def _without_end(ids: list[int], end: int | None) -> list[int]:
    return ids[:-1] if ids and ids[-1] == end else ids
