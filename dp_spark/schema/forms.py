"""What may be in a place of a release file, in an author's words: read from the models, so that messages agree with them."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

#: A Python type as an author knows it.
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    str: "a text",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    type(None): "nothing",
}
_UNKNOWN = "a value of another form"
_MENDS = {
    "a text": "write a text, in quotes where it looks like a number or like true or false",
    "a list": "write a list: [a, b], or lines that begin with -",
    "a mapping": "write a mapping: {key: value}, or lines of key: value",
    "a whole number": "write a whole number such as 4, without quotes",
    "a number": "write a number such as 0.5, without quotes",
    "true or false": "write true or false, without quotes",
}


def kind_of(value: Any) -> str:
    """What a value is, in an author's words.

    >>> kind_of(True), kind_of(3), kind_of([1]), kind_of(None)
    ('true or false', 'a whole number', 'a list', 'nothing')
    """
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return "a number that is not finite"
    return "a number with a point or an exponent" if isinstance(value, Decimal) else _KINDS.get(type(value), "something else")


def form(annotation: Any) -> str:
    """What may be in a place, in words.

    >>> form(str), form(tuple[int, ...]), form(Literal["a", "b"]), form(bool | int | None)
    ('a text', 'a list', 'one of a, b', 'true or false or a whole number')
    """
    return _form_and_rule(annotation)[0]


def mend_of(annotation: Any) -> str:
    """What an author can write there, as a request.

    >>> mend_of(int), mend_of(Literal["a", "b"])
    ('write a whole number such as 4, without quotes', 'write one of a, b')
    """
    expected, rule = _form_and_rule(annotation)
    example = example_of(annotation)
    if example:
        return f"write a mapping: {example}"
    return f"use {rule}" if rule else _MENDS.get(expected, f"write {expected}")


def example_of(annotation: Any) -> str:
    """What an author can write for a part of a file, as its model says it; empty where the model does not."""
    members = members_of(peel(annotation)[0])
    return str(getattr(members[0], "example", "")) if len(members) == 1 else ""


def _form_and_rule(annotation: Any) -> tuple[str, str]:
    """The form, and for a text the rule that its description in the model tells (``a plain name: letters ...``)."""
    bare, notes = peel(annotation)
    members = members_of(bare)
    if len(members) > 1:
        return _either([form(member) for member in members]), ""
    if members[0] is not bare:
        return _form_and_rule(Annotated[members[0], *notes] if notes else members[0])
    described = next((note.description for note in notes if isinstance(note, FieldInfo) and note.description), None)
    if bare is str and described:
        name, _, rule = described.partition(": ")
        return name, rule
    values = literals(bare)
    if values:
        return ("one of " if len(values) > 1 else "") + ", ".join(in_yaml(value) for value in values), ""
    return (_form_of_model(bare) if is_model(bare) else _KINDS.get(get_origin(bare) or bare, _UNKNOWN)), ""


def _form_of_model(model: type[BaseModel]) -> str:
    fixed = {name: literals(field.annotation) for name, field in model.model_fields.items()}
    if fixed and all(len(values) == 1 for values in fixed.values()):
        return "{" + ", ".join(f"{name}: {in_yaml(values[0])}" for name, values in fixed.items()) + "}"
    return f"a mapping with the keys {', '.join(keys_of(model))}"


def _either(forms: Sequence[str]) -> str:
    """Several forms as one phrase; a whole number is a number, and dates are written as texts."""
    distinct = [
        text for text in dict.fromkeys(forms) if text != _UNKNOWN and (text, "a number" in forms) != ("a whole number", True)
    ]
    return ", ".join(distinct[:-1]) + " or " + distinct[-1] if len(distinct) > 1 else distinct[0]


def in_yaml(value: Any) -> str:
    """A constant as a release file has it.

    >>> in_yaml(True), in_yaml("delta")
    ('true', 'delta')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- annotations -----------------------------------------------------------------------------------------------------


def peel(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without its ``Annotated``, and what was noted in it."""
    notes: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        notes += more
    return annotation, notes


def members_of(bare: Any) -> list[Any]:
    """The members of a union but None; of anything else itself."""
    if get_origin(bare) in (Union, types.UnionType):
        return [member for member in get_args(bare) if member is not type(None)]
    return [bare]


def is_model(bare: Any) -> bool:
    """Whether it is a part of a file."""
    return isinstance(bare, type) and issubclass(bare, BaseModel)


def literals(annotation: Any) -> tuple[Any, ...]:
    """The constants of a ``Literal``, or of one that may also be absent; else nothing."""
    members = members_of(peel(annotation)[0])
    return get_args(members[0]) if len(members) == 1 and get_origin(members[0]) is Literal else ()


def tags_of(model: type[BaseModel]) -> list[str]:
    """The constants in a model's fields, by which a union tells its members apart."""
    required = (field for field in model.model_fields.values() if field.is_required())
    return [str(value) for field in required for value in literals(field.annotation)]


def tag_key(annotation: Any) -> str | None:
    """The key by which a union tells its members apart; None where it goes by their form."""
    for note in peel(annotation)[1]:
        key = getattr(note, "discriminator", None)
        if key is not None:
            return str(getattr(key, "discriminator", key))
    return None


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names, itself or in what it is made of."""
    bare, _ = peel(annotation)
    if is_model(bare):
        yield bare
    for inner in get_args(bare):
        if inner is not Ellipsis and get_origin(bare) is not Literal:
            yield from models_in(inner)


# --- keys ------------------------------------------------------------------------------------------------------------


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a part of a file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def home_of(model: type[BaseModel], given: str) -> tuple[str, str] | None:
    """The key that is most like a given one in the parts of a file, and its part; None where that is not one part."""
    parts = {
        name: {key for part in models_in(field.annotation) for key in keys_of(part)}
        for name, field in model.model_fields.items()
    }
    key = closest(given, set().union(*parts.values()), cutoff=0.75)
    homes = [name for name, keys in parts.items() if key in keys]
    return (key, homes[0]) if key is not None and len(homes) == 1 else None


def closest(given: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The word that is most like a given one, in whatever case; None where none is.

    >>> closest("Privacy_Units", ["privacy_unit", "sink"]), closest("x", ["sink"])
    ('privacy_unit', None)
    """
    lowered = {name.lower(): name for name in sorted(known)}
    close = difflib.get_close_matches(given.lower(), list(lowered), n=1, cutoff=cutoff)
    return lowered[close[0]] if close else None
