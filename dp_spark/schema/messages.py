"""Turns what pydantic finds wrong in a release file into lines that say what is expected, where, and how to mend it.

Pydantic's own sentences are never shown: what a place may hold is read from the model that describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dp_spark.errors import SpecError, said_together
from dp_spark.schema.forms import (
    closest,
    example_of,
    form,
    home_of,
    in_yaml,
    is_model,
    keys_of,
    kind_of,
    literals,
    members_of,
    mend_of,
    models_in,
    peel,
    tag_key,
    tags_of,
)  # fmt: skip

#: What pydantic says where a value has the right form and breaks a bound: a sentence, the bound's name, and a mend.
_BOUNDS = {
    "greater_than": ("must be greater than {}", "gt", "write a number above {}"),
    "greater_than_equal": ("must be {} or greater", "ge", "write {} or a greater number"),
    "less_than": ("must be less than {}", "lt", "write a number below {}"),
    "less_than_equal": ("must be {} or less", "le", "write {} or a smaller number"),
    "too_short": (
        "is empty: it must have at least {} element",
        "min_length",
        "add an element, or remove the key where it may be absent",
    ),
    "string_too_short": ("is empty: it must have at least {} character", "min_length", "write a text"),
    "string_too_long": ("must have at most {} characters", "max_length", "shorten it to {} characters"),
}
#: Of a value that pydantic took for this branch of a union: its form is right.
_RIGHT_FORM = {"value_error", "string_pattern_mismatch", *_BOUNDS}
#: How alike two words must be for one to be a slip of the other.
_NEAR = 0.7


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
    return said_together([problem for item in _telling(error, model) for problem in _problems(item, model)])


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


# --- where -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where in a file something is wrong.

    Attributes:
        path: The keys that lead there, as an author wrote them.
        expected: The annotation of what may be there; None where nothing may.
        owner: The model that the last key belongs to.
        union: The keys that lead to a union on the way, pydantic's name of its branch, and whether the fault is below it.
        choices: The annotation of that union.
        is_key: Whether the fault is in the last key itself, not in what it leads to.
    """

    path: tuple[str, ...] = ()
    expected: Any = None
    owner: type[BaseModel] | None = None
    union: tuple[tuple[str, ...], str, bool] | None = None
    choices: Any = None
    is_key: bool = False

    @property
    def where(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True)
class _Item:
    place: _Place
    found: Any


def _telling(error: ValidationError, model: type[BaseModel]) -> list[_Item]:
    """The faults that an author can mend one by one, without those that only follow from another."""
    items = [_Item(_place(model, found["loc"]), found) for found in error.errors(include_url=False)]
    told = [item for item in _of_meant_branches(items) if not _follows(item, items)]
    misspelt = {
        (*item.place.path[:-1], closest(item.place.path[-1], keys_of(item.place.owner), cutoff=_NEAR))
        for item in told
        if item.found["type"] == "extra_forbidden" and item.place.owner is not None
    }
    return [item for item in told if item.found["type"] != "missing" or item.place.path not in misspelt]


def _follows(item: _Item, items: Sequence[_Item]) -> bool:
    """Whether a list is too short because an element of it is wrong."""
    path = item.place.path
    below = (other.place.path for other in items if len(other.place.path) > len(path))
    return item.found["type"] == "too_short" and any(other[: len(path)] == path for other in below)


def _of_meant_branches(items: Sequence[_Item]) -> Iterator[_Item]:
    """The faults without those of branches of a union that the author did not mean."""
    meant: dict[tuple[str, ...], str | None] = {}
    for item in items:
        if item.place.union is None:
            yield item
            continue
        union, branch, below = item.place.union
        if union not in meant:
            meant[union] = _meant(items, union)
            if meant[union] is None:  # of another form than every branch: told once, for the whole union
                yield _Item(_Place(union, item.place.choices), {**item.found, "type": "union"})
        if branch == meant[union] and (below or item.found["type"] in _RIGHT_FORM):
            yield item


def _meant(items: Sequence[_Item], union: tuple[str, ...]) -> str | None:
    """The branch whose form the value has: pydantic went into it, or judged what is in it."""
    for item in items:
        if item.place.union is not None and item.place.union[0] == union:
            _, branch, below = item.place.union
            if below or item.found["type"] in _RIGHT_FORM:
                return branch
    return None


def _place(model: type[BaseModel], location: Sequence[int | str]) -> _Place:
    """Follows pydantic's location through the model's annotations; it names branches of unions, which no author wrote."""
    path: list[str] = []
    expected: Any = model
    owner: type[BaseModel] | None = None
    union: tuple[tuple[str, ...], str, bool] | None = None
    choices: Any = None
    parts = list(location)
    while parts:
        bare, _ = peel(expected)
        members = members_of(bare)
        if len(members) == 1 and members[0] is not bare:
            expected = members[0]
            continue
        part = parts.pop(0)
        if len(members) > 1:
            if union is None and tag_key(expected) is None:
                union, choices = (tuple(path), str(part), bool(parts)), expected
            expected = _branch(members, str(part), parts)
            continue
        path.append(str(part))
        if is_model(bare):
            owner, expected = bare, _field(bare, str(part))
        elif get_origin(bare) is dict:
            if parts == ["[key]"]:
                return _Place(tuple(path), get_args(bare)[0], owner, union, choices, is_key=True)
            expected = get_args(bare)[1]
        else:
            expected = get_args(bare)[0] if get_args(bare) else None
    return _Place(tuple(path), expected, owner, union, choices)


def _field(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return Annotated[field.annotation, field, *field.metadata]
    return None


def _branch(members: Sequence[Any], label: str, rest: Sequence[int | str]) -> Any:
    """The member of a union that pydantic means by a name of its own making."""
    begins: dict[Any, str] = {tuple: "tuple[", list: "list[", dict: "dict["}

    def named(member: Any) -> bool:
        bare, _ = peel(member)
        if is_model(bare):
            return bare.__name__ in label or label in tags_of(bare)
        return label.startswith(begins.get(get_origin(bare), "\0"))

    def reaches(member: Any) -> bool:
        bare, _ = peel(member)
        return bool(rest) and (get_origin(bare) is tuple) == isinstance(rest[0], int) and get_origin(bare) is not None

    return next(filter(named, members), next(filter(reaches, members), next((m for m in members if m is str), members[0])))


# --- what ------------------------------------------------------------------------------------------------------------


def _problems(item: _Item, model: type[BaseModel]) -> Iterator[SpecError]:
    place, found = item.place, item.found
    if found["type"] == "value_error":
        error = found["ctx"]["error"]
        several = error if isinstance(error, ContradictionsError) else ContradictionsError([str(error)])
        for text in several.found:
            yield problem_of(text, ".".join(filter(None, (place.where, several.key))))
    else:
        yield _TOLD.get(found["type"], _other_form)(place, found, model)


def _missing(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
    expected = example_of(place.expected) or form(place.expected)
    return SpecError("is missing", where=place.where, mend=f"add {place.path[-1]}: {expected}")


def _no_key(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
    return SpecError("is not a key of the release file", where=place.where, mend=_right_key(place, found["input"], model))


def _no_tag(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
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


def _no_literal(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
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


def _out_of_bounds(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
    sentence, limit, mend = _BOUNDS[found["type"]]
    notes = peel(place.expected)[1]  # the model's own number: pydantic's can be a Python expression
    number = next((getattr(note, limit) for note in notes if getattr(note, limit, None) is not None), found["ctx"][limit])
    number = f"{number:f}" if isinstance(number, Decimal) else number
    return SpecError(sentence.format(number), where=place.where, mend=mend.format(number))


def _other_form(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
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


def _strange_key(place: _Place, found: Any, model: type[BaseModel]) -> SpecError:
    keys = keys_of(place.owner or model)
    return SpecError("is not a key: a key is a text", where=place.where, mend=f"remove it; the keys here are {', '.join(keys)}")


_TOLD: dict[str, Callable[[_Place, Any, type[BaseModel]], SpecError]] = {
    "missing": _missing,
    "extra_forbidden": _no_key,
    "invalid_key": _strange_key,
    "union_tag_invalid": _no_tag,
    "union_tag_not_found": _no_tag,
    "literal_error": _no_literal,
    **dict.fromkeys(_BOUNDS, _out_of_bounds),
}


def _right_key(place: _Place, value: Any, model: type[BaseModel]) -> str:
    """What an author meant by an unknown key: a key of this part, or one that belongs elsewhere."""
    key, owner = place.path[-1], place.owner or model
    home = home_of(model, key)
    if home is not None and home[1] != place.path[0] and home[0] == key:
        return f"put it under `{home[1]}`"
    field = owner.model_fields.get(key)
    near = field.alias if field is not None else closest(key, keys_of(owner), cutoff=_NEAR)
    if near:
        return f"did you mean {near}?"
    belongs = getattr(owner, "where_other_keys_belong", None)
    if belongs is not None and isinstance(value, list):
        return str(belongs(key))
    if home is not None and home[1] != place.path[0]:
        return f"did you mean {home[0]}, under `{home[1]}`?"
    takers = [tag for part in _siblings(place, model) if key in keys_of(part) for tag in tags_of(part)]
    if takers:
        return f"remove it; only {', '.join(takers)} may have it"
    keys = keys_of(owner)
    return f"remove it; the keys here are {', '.join(keys)}"


def _siblings(place: _Place, model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The parts of the file that stand for choice beside the one that the key is in."""
    return models_in(_field(model, place.path[0])) if len(place.path) == 3 else iter(())
