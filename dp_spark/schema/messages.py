"""Turns what pydantic finds wrong in a release file into lines that say what is expected, where, and how to mend it.

Pydantic's own sentences are never shown: what a place may hold is read from the model that describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError

from dp_spark.errors import SpecError, said_together
from dp_spark.schema.faults import BOUNDS, NEAR, Fault, Place, faults_of, field_of
from dp_spark.schema.forms import (
    closest,
    example_of,
    form,
    home_of,
    in_yaml,
    keys_of,
    kind_of,
    literals,
    mend_of,
    models_in,
    peel,
    tag_key,
    tags_of,
)  # fmt: skip


class ContradictionsError(ValueError):
    """Several things wrong with one part of a file, each a text as a validator's ``ValueError`` has it.

    Args:
        found: The texts.
        key: The key of the part that they are about, where it is one.
    """

    def __init__(self, found: Sequence[str], *, key: str = "") -> None:
        super().__init__("; ".join(found))
        self.found, self.key = found, key


def to_spec_error(error: ValidationError, model: type[BaseModel]) -> SpecError:
    """All that is wrong, each with its key and its mend; ``model`` is what the keys are looked up in."""
    return said_together([problem for item in faults_of(error, model) for problem in _problems(item, model)])


def problem_of(text: str, where: str = "") -> SpecError:
    """The problem that a validator's text tells: ``problem``, ``problem; mend``, or ``key: problem; mend``.

    Args:
        text: What the validator said.
        where: The key that it is about; without one the text begins with it.

    >>> str(problem_of("noise.mechanism: needs a delta; give one"))
    'noise.mechanism: needs a delta (mend: give one)'
    """
    if not where and ": " in text:
        where, _, text = text.partition(": ")
    problem, _, mend = text.rpartition("; ")
    return SpecError(problem or text, where=where, mend=mend if problem else "docs/release-file.md says what it may hold")


def _problems(item: Fault, model: type[BaseModel]) -> Iterator[SpecError]:
    place, found = item.place, item.found
    if found["type"] == "value_error":
        error = found["ctx"]["error"]
        several = error if isinstance(error, ContradictionsError) else ContradictionsError([str(error)])
        for text in several.found:
            yield problem_of(text, ".".join(filter(None, (place.where, several.key))))
    else:
        yield _TOLD.get(found["type"], _other_form)(place, found, model)


def _missing(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    expected = example_of(place.expected) or form(place.expected)
    return SpecError("is missing", where=place.where, mend=f"add {place.path[-1]}: {expected}")


def _no_key(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    return SpecError("is not a key of the release file", where=place.where, mend=_right_key(place, found["input"], model))


def _no_tag(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    key = found["ctx"]["discriminator"].strip("'")
    known = [tag for part in models_in(place.expected) for tag in tags_of(part)]
    where, given = f"{place.where}.{key}", found["input"]
    if not isinstance(given, dict):
        return _other_form(place, found, model)
    if found["type"] == "union_tag_not_found":
        misspelt = closest(key, [str(name) for name in given])
        mend = f"rename {misspelt} to {key}" if misspelt else f"add {key}: one of {', '.join(known)}"
        return SpecError("is missing", where=where, mend=mend)
    return _no_choice(where, known, given.get(key), key)


def _no_literal(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    known = [in_yaml(value) for value in literals(place.expected)]
    return _no_choice(place.where, known, found["input"], place.path[-1])


def _no_choice(where: str, known: Sequence[str], given: Any, noun: str) -> SpecError:
    """A value that is none of those that may be there."""
    what = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
    if isinstance(given, str) and len(given) <= 40 and given.isprintable():
        close = closest(given, known)
        mend = f"did you mean {close}?" if close else f"write {what}"
        return SpecError(f"there is no {noun} {given!r} here; it must be {what}", where=where, mend=mend)
    shown = in_yaml(given) if isinstance(given, bool) else kind_of(given)
    return SpecError(f"must be {what}; found {shown}", where=where, mend=f"write {what}")


def _out_of_bounds(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    sentence, limit, mend = BOUNDS[found["type"]]
    notes = peel(place.expected)[1]  # the model's own number: pydantic's can be a Python expression
    number = next((getattr(note, limit) for note in notes if getattr(note, limit, None) is not None), found["ctx"][limit])
    number = f"{number:f}" if isinstance(number, Decimal) else number
    return SpecError(sentence.format(number), where=place.where, mend=mend.format(number))


def _other_form(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    """A value of another form than the one that is expected: the default for all that pydantic can find."""
    expected, mend = form(place.expected), mend_of(place.expected)
    tag = tag_key(place.expected)
    if tag is not None:
        return SpecError(
            f"must be a mapping with the key {tag}; found {kind_of(found['input'])}",
            where=place.where,
            mend=f"write a mapping: {{{tag}: {tags_of(next(models_in(place.expected)))[0]}, ...}}",
        )
    if place.is_key:
        return SpecError(f"the name of this key must be {expected}", where=place.where, mend=mend)
    if found["type"] == "string_pattern_mismatch":
        return SpecError(f"is not {expected}", where=place.where, mend=mend)
    return SpecError(f"must be {expected}; found {kind_of(found['input'])}", where=place.where, mend=mend)


def _strange_key(place: Place, found: Any, model: type[BaseModel]) -> SpecError:
    keys = keys_of(place.owner or model)
    return SpecError("is not a key: a key is a text", where=place.where, mend=f"remove it; the keys here are {', '.join(keys)}")


_TOLD: dict[str, Callable[[Place, Any, type[BaseModel]], SpecError]] = {
    "missing": _missing,
    "extra_forbidden": _no_key,
    "invalid_key": _strange_key,
    "union_tag_invalid": _no_tag,
    "union_tag_not_found": _no_tag,
    "literal_error": _no_literal,
    **dict.fromkeys(BOUNDS, _out_of_bounds),
}


def _right_key(place: Place, value: Any, model: type[BaseModel]) -> str:
    """What an author meant by an unknown key: a key of this part, or one that belongs elsewhere."""
    key, owner = place.path[-1], place.owner or model
    inside = _holders(owner, key)
    if len(inside) == 1:  # nearer than anything elsewhere
        return f"put it under `{inside[0]}`"
    home = home_of(model, key)
    if home is not None and home[1] != place.path[0] and home[0] == key:
        return f"put it under `{home[1]}`"
    field = owner.model_fields.get(key)
    near = field.alias if field is not None else closest(key, keys_of(owner), cutoff=NEAR)
    if near:
        return f"did you mean {near}?"
    belongs = getattr(owner, "where_other_keys_belong", None)
    if belongs is not None and isinstance(value, list):
        return str(belongs(key))
    if home is not None and home[1] != place.path[0]:
        return f"did you mean {home[0]}, under `{home[1]}`?"
    siblings = list(_siblings(place, model))
    takers = [tag for part in siblings if key in keys_of(part) for tag in tags_of(part)]
    takers += [name for part in siblings for name in _holders(part, key)]
    if takers:
        return f"remove it; only {', '.join(takers)} may have it"
    keys = keys_of(owner)
    return f"remove it; the keys here are {', '.join(keys)}"


def _holders(part: type[BaseModel], key: str) -> list[str]:
    """The keys below a part that hold a part with this key, joined by dots; of those the nearest to it."""
    level = [(field.alias or name, field) for name, field in part.model_fields.items()]
    while level:
        inner = [(path, held) for path, field in level for held in models_in(field.annotation)]
        found = [path for path, held in inner if key in keys_of(held)]
        if found:
            return list(dict.fromkeys(found))
        level = [(f"{path}.{field.alias or name}", field) for path, held in inner for name, field in held.model_fields.items()]
    return []


def _siblings(place: Place, model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The parts of the file that stand for choice beside the one that the key is in."""
    return models_in(field_of(model, place.path[0])) if len(place.path) == 3 else iter(())
