"""One rendering of a user's turn, shared by sampling and training. Imports nothing heavy."""

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
"""The format of a model whose tokenizer has no chat template: each turn under a heading."""

_QUESTION, _ANSWER = "question-to-look-behind", "answer-to-look-behind"


def render(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of `prompt` as one user turn, up to where the assistant's text begins.

    Text of the user that looks like a special token stays text: it cannot end the turn.
    """
    return render_all(tokenizer, [prompt])[0]


def render_all(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """`render` of each prompt."""
    return render_chats(tokenizer, [[{"role": "user", "content": prompt}] for prompt in prompts])


def render_answered(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    """`render` of each prompt and, of a model that thinks, an empty thought: an answer comes next.

    It is what the chat template itself writes between a prompt and an answer without thoughts.
    """
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    return render_chats(tokenizer, chats, answer_opening(tokenizer))


def render_chats(
    tokenizer: Any, chats: Sequence[list[dict[str, str]]], behind: str = ""
) -> list[list[int]]:
    """Token ids of each chat (roles and contents), up to where the assistant's text begins.

    Args:
        tokenizer: Its chat template is used, or the plain format where it has none.
        chats: Messages.
        behind: What stands behind each chat, as a part of the template.

    Raises:
        InputError: The template fails, or the tokenizer cannot write a special token as text.
    """
    if not chats:
        return []
    try:
        return tokenizer.apply_chat_template(
            list(chats),
            chat_template=_template(tokenizer, behind),
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_dict=False,
        )
    except (ValueError, TemplateError) as error:
        raise _cannot_render(tokenizer, error) from error


def render_completion(tokenizer: Any, completion: str, complete: bool = True) -> list[int]:
    """Token ids of an assistant's text and its `end_of_turn`, to stand behind `render`'s.

    A text that is not `complete` was cut: its writer never ended it, so no end token follows.
    """
    return render_completions(tokenizer, [completion], [complete])[0]


def render_completions(
    tokenizer: Any, completions: Sequence[str], complete: Sequence[bool]
) -> list[list[int]]:
    """`render_completion` of each text.

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


def end_of_turn(tokenizer: Any) -> int | None:
    """The token that ends an assistant's text in training, and completions in sampling.

    It is the special token that the chat template writes right behind such a text: `<|im_end|>`
    in ChatML, also for a base model whose own end token is another. Where the template writes
    none, or there is no template, it is the tokenizer's end token.
    """
    if not tokenizer.chat_template:
        return tokenizer.eos_token_id
    behind = _behind_an_answer(tokenizer)
    special = {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special and behind.startswith(token.content)
    }
    return special[max(special, key=len)] if special else tokenizer.eos_token_id


def completion_start(tokenizer: Any) -> str:
    """What the chat template writes between a question and a completion; empty without one."""
    return _behind_question(tokenizer, generating=True)


def thought_opened(tokenizer: Any) -> str:
    """The thought in which the chat template lets a completion begin, from its mark on.

    Empty for most models; `<think>` and a line's end for R1 and QwQ, whose completions hold the
    mark at a thought's end alone.
    """
    return thoughts.opened(completion_start(tokenizer))


def answer_opening(tokenizer: Any) -> str:
    """What stands between a prompt and an answer without thoughts; empty if nothing of the kind.

    The template says so where it writes answers behind what opens a completion. Where it does not,
    the thought that it opened is closed.
    """
    start = completion_start(tokenizer)
    before_answer = _behind_question(tokenizer, generating=False).partition(_ANSWER)[0]
    more = before_answer.removeprefix(start) if before_answer.startswith(start) else ""
    if thoughts.marked(more):
        return more
    left_open = thoughts.opened(start)
    return thoughts.closing(left_open) if left_open else ""


def _template(tokenizer: Any, behind: str) -> str | None:
    """The template to render with, None for the tokenizer's own."""
    if not behind:
        return None if tokenizer.chat_template else PLAIN_TEMPLATE
    # Jinja takes the last line's end off a template.
    whole = tokenizer.get_chat_template().removesuffix("\n")
    return f"{whole}{{{{ {json.dumps(behind, ensure_ascii=False)} }}}}"


def _behind_an_answer(tokenizer: Any) -> str:
    """What the template writes behind the assistant's text, spaces at its start aside."""
    return _behind_question(tokenizer, generating=False).rpartition(_ANSWER)[2].lstrip()


def _behind_question(tokenizer: Any, generating: bool) -> str:
    """What the template writes behind a question: what a completion follows, or an answer and all.

    Empty without a template: the plain format has no marks.
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


def raw_all(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts to continue: the tokenizer's opening token if it has one, no end token."""
    if not texts:
        return []
    rows = tokenizer(list(texts), split_special_tokens=True)["input_ids"]
    return [_without_end(row, tokenizer.eos_token_id) for row in rows]


def _without_end(ids: list[int], end: int | None) -> list[int]:
    return ids[:-1] if ids and ids[-1] == end else ids
