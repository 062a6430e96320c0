"""Text with characters that a model has never seen: refused, or read without them, and counted."""

from typing import Any

from unrolled.cli.terminal import counted, say

__all__ = ["known_part"]

_SHOWN = 5


def known_part(task: Any, text: Any, name: str, *, skip_unknown: bool) -> Any:
    """Return a text without the characters that the model of `task` has never seen, and say so.

    Args:
        task: Who reads it.
        text: The text, a `str` or `LongText`.
        name: Of the file or the option that it is from, for messages.
        skip_unknown: Whether such characters are left out.

    Raises:
        VocabularyError: There are some, and they are not to be left out.
    """
    from unrolled.data.long_text import LongText
    from unrolled.errors import VocabularyError, field

    is_long = isinstance(text, LongText)
    occurring = text.characters if is_long else text
    known, unknown = task.readable(occurring)
    if not unknown:
        return text
    shown = ", ".join(_named(each, occurring) for each in unknown[:_SHOWN])
    shown += f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    if not skip_unknown:
        message = f"{name}: the model has never seen {shown}"
        raise VocabularyError(message, f"leave them out, or add {field('skip_unknown')}")
    if is_long:
        kinds = counted(len(unknown), "different character")
        say(f"note: {kinds} left out that the model has never seen: {shown}", err=True)
        return text.without([each for each in text.characters if each not in known])
    skipped = counted(len(text) - len(known), "character")
    say(f"note: {skipped} left out that the model has never seen: {shown}", err=True)
    return known


def _named(character: str, text: str) -> str:
    if character not in text:  # what `Task.readable` has in the place of what is no text
        return "half a surrogate pair"
    return f"{character!r} (U+{ord(character):04X})"
