"""Counting tokens without a provider's tokeniser: four bytes of UTF-8 are one.

The same text counts the same however it is cut into chunks.
"""

import json
from collections.abc import Mapping
from typing import Any

BYTES_PER_TOKEN = 4
TOKENS_OF_MESSAGE = 4
"""What a message costs besides its text."""
TOKENS_OF_ATTACHMENT = 1_000
"""An image, a sound or a file counts as this many, whatever its size."""
_ATTACHMENTS = frozenset({"image_url", "input_audio", "file"})
_NO_TEXT = frozenset({"role", "id", "type", "index"})


def tokens_of(size: int) -> int:
    """Return how many tokens `size` bytes are."""
    return -(-size // BYTES_PER_TOKEN)


def count_tokens(text: str) -> int:
    """Return how many tokens a text is."""
    return tokens_of(size_of(text))


def size_of(text: str) -> int:
    """Return the length of a text in bytes; a lone surrogate is as long as any sign of its plane."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def size_of_text(part: Any) -> int:
    """Return the length of all text in a message or a piece of one: content, refusals, calls of tools."""
    if isinstance(part, str):
        return size_of(part)
    size, rest = 0, [part]
    # No recursion: how deep it is nested is for others to say.
    while rest:
        match rest.pop():
            case str() as text:
                size += size_of(text)
            case dict() as named:
                rest += [value for name, value in named.items() if value and name not in _NO_TEXT]
            case list() as parts:
                rest += parts
    return size


def tokens_of_chat(body: Mapping[str, Any]) -> int:
    """Return how many tokens the prompt of a chat is, about."""
    messages = body["messages"]
    attachments = sum(map(_attachments, messages))
    size = sum(size_of_text(_without_attachments(message)) for message in messages)
    size += len(json.dumps(body["tools"])) if body.get("tools") else 0
    return tokens_of(size) + TOKENS_OF_MESSAGE * len(messages) + TOKENS_OF_ATTACHMENT * attachments


def tokens_of_input(given: Any) -> int:
    """Return how many tokens the input of an embedding is: text, texts, tokens, or lists of tokens.

    Whatever else a provider may take costs the text in it. Nothing is free: what looks empty is a token.
    """
    tokens, rest = 0, [given]
    while rest:
        match rest.pop():
            case list() as parts if parts:
                # Tokens are many; each is one.
                others = [part for part in parts if type(part) is not int]
                tokens += len(parts) - len(others)
                rest += others
            case str() | dict() as part:
                tokens += max(1, tokens_of(size_of_text(part)))
            case _:
                tokens += 1
    return tokens


def _parts(message: dict[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _is_attachment(part: Any) -> bool:
    return isinstance(part, dict) and not _ATTACHMENTS.isdisjoint(part)


def _attachments(message: dict[str, Any]) -> int:
    return sum(map(_is_attachment, _parts(message)))


def _without_attachments(message: dict[str, Any]) -> dict[str, Any]:
    if not _parts(message):
        return message
    return message | {"content": [part for part in _parts(message) if not _is_attachment(part)]}
