"""One prompt, or one completion, as the token ids that sampling and training give it."""

from typing import Any

from srlm_kedro.engines import chat


def render_all(tokenizer: Any, prompts: list[str]) -> list[list[int]]:
    """Each prompt as one user turn, up to where the assistant's text begins."""
    return chat.render_chats(tokenizer, [[{"role": "user", "content": text}] for text in prompts])


def render(tokenizer: Any, prompt: str) -> list[int]:
    """`render_all` of one prompt."""
    return render_all(tokenizer, [prompt])[0]


def render_completion(tokenizer: Any, completion: str) -> list[int]:
    """The completion and its end token."""
    return chat.render_completions(tokenizer, [completion], [True])[0]
