"""Options that belong together, as one parameter of a command: a dataclass whose fields are the options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any


def together(command: Callable[..., None]) -> Callable[..., None]:
    """Shows typer a command whose dataclass parameters are replaced by their fields, in the same order.

    Args:
        command: A command; a parameter whose type is a dataclass gets one, made of the options of its fields.
    """
    taken = inspect.signature(command, eval_str=True).parameters
    kinds = {name: item.annotation for name, item in taken.items()}
    groups = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and is_dataclass(kind)}
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}
    shown = [part for name, item in taken.items() for part in fields.get(name, {name: item}).values()]

    @functools.wraps(command)
    def called(**options: Any) -> None:
        made = {name: groups[name](**{part: options.pop(part) for part in parts}) for name, parts in fields.items()}
        command(**options, **made)

    called.__signature__ = inspect.Signature([item.replace(kind=item.KEYWORD_ONLY) for item in shown])  # type: ignore[attr-defined]
    return called
