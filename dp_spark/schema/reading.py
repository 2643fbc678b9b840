"""From the text of a release file to plain data: YAML 1.2 scalars, ``--set`` overrides and ``${NAME}``.

PyYAML speaks YAML 1.1, where ``NO`` is false, ``12:30`` is 750 and ``1e-6`` is a string. A release file means what
it looks like, so scalars are resolved by the YAML 1.2 core schema, and a number with a fraction or an exponent stays
the exact decimal that was written: budgets are never rounded to a double on the way in.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from dp_spark.errors import SpecError
from dp_spark.places.paths import at_home

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


#: More than any release file that people or programs write; a longer list of keys belongs into a table.
MAX_BYTES = 4 * 2**20
_MAX_DEPTH = 40
_MAX_DIGITS = 1000


class _NotAllowedError(yaml.constructor.ConstructorError):
    """YAML that is well-formed and refused, with the mend."""

    def __init__(self, problem: str, mark: Any, mend: str) -> None:
        super().__init__(None, None, problem, mark)
        self.mend = mend


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, without duplicate keys, and without what makes a short text a huge document."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, unless it repeats another one or is nested too deeply."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:  # of an alias, too
            mend = "write the value out wherever it is needed"
            raise _NotAllowedError("anchors and aliases (& and *) are not allowed", event.start_mark, mend)
        if self.depth > _MAX_DEPTH:
            mend = "write fewer brackets or levels inside each other"
            raise _NotAllowedError(f"is nested more than {_MAX_DEPTH} levels deep", event.start_mark, mend)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.yaml_implicit_resolvers = {}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789")
_resolve(
    "float",
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    "-+0123456789.",
)


def _check_digits(node: yaml.ScalarNode, digits: int) -> None:
    if digits > _MAX_DIGITS:
        raise _NotAllowedError(f"a number has more than {_MAX_DIGITS} digits", node.start_mark, "write a shorter number")


def _construct_int(_: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    _check_digits(node, len(text))
    try:
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    except ValueError:
        raise _unreadable(node) from None


def _construct_number(_: _Loader, node: yaml.ScalarNode) -> Decimal | float:
    text = str(node.value).lower()
    _check_digits(node, len(text))
    if "nan" in text:
        return math.nan
    if "inf" in text:
        return -math.inf if text.startswith("-") else math.inf
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _unreadable(node) from None
    _check_digits(node, abs(number.adjusted()) + len(number.as_tuple().digits))  # as it is written without an exponent
    return number


def _construct_bool(_: _Loader, node: yaml.ScalarNode) -> bool:
    if str(node.value).lower() not in ("true", "false"):
        raise _unreadable(node)
    return str(node.value).lower() == "true"


def _construct_text(_: _Loader, node: yaml.ScalarNode) -> str:
    """A text; JSON writes a letter beyond U+FFFF as two halves, and a half alone has no bytes."""
    try:
        return str(node.value).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise yaml.constructor.ConstructorError(
            None, None, "a text holds half of a surrogate pair, which is no character", node.start_mark
        ) from None


def _unreadable(node: yaml.ScalarNode) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, "a value does not fit its tag", node.start_mark)


def _refuse_tag(_: _Loader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(None, None, "a tag is not allowed here", node.start_mark)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | bool | Decimal):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
        seen.add(key)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_number)
_Loader.add_constructor("tag:yaml.org,2002:bool", _construct_bool)
_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _name in ("timestamp", "binary", "set", "omap", "pairs"):  # types that YAML 1.2's core schema does not have
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _refuse_tag)


def parse_yaml(text: str, *, where: str = "release file") -> Any:
    """Parses YAML text with the scalars of the YAML 1.2 core schema.

    Args:
        text: The YAML document.
        where: What to call the document in an error.

    Raises:
        SpecError: If the text is not YAML, a key is there twice in one mapping, or it has anchors, aliases, numbers of more
            than 1,000 digits or more than 40 levels.

    >>> parse_yaml("{a: NO, b: 12:30, c: 1e-6, d: 0.10, e: 7, f: }")
    {'a': 'NO', 'b': '12:30', 'c': Decimal('0.000001'), 'd': Decimal('0.10'), 'e': 7, 'f': None}
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader: it builds plain data only
    except RecursionError:
        raise SpecError("not valid YAML: it is nested too deeply", where=where, mend="write fewer levels") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "cannot be read as YAML"
        mend = getattr(error, "mend", "check the indentation and the quotes there")
        raise SpecError(f"not valid YAML: {problem}", where=f"{where}{line}", mend=mend) from None


def read_release_file(path: str | Path) -> dict[str, Any]:
    """Reads a release file into plain data, without judging it.

    Raises:
        SpecError: If the file is missing, unreadable, not YAML, or not a mapping.
    """
    try:
        with Path(at_home(str(path))).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8") if len(content) <= MAX_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "cannot be read")
        raise SpecError(f"release file: {reason}", where=str(path), mend="give the path of a release file") from None
    if len(content) > MAX_BYTES:
        raise SpecError(
            f"release file: is larger than {MAX_BYTES // 2**20} MiB",
            where=str(path),
            mend="put long lists of public keys into a table: partitions: {public: {source: ...}}",
        )
    data = parse_yaml(text, where=str(path))
    if not isinstance(data, dict):
        raise SpecError("a release file is a mapping of keys to values", where=str(path), mend="start from an example in conf/")
    return data


# A command line that could swap the protected dataset or its unit would make the ledger's pin worthless.
_FIXED = ("dataset", "privacy_unit")
# Where a source is may change from machine to machine; how it is read says which of its columns is the unit.
_FREE_IN_SOURCE = ("path", "table")


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the data with every ``a.b=value`` of ``--set`` applied; values are read as YAML scalars.

    Args:
        data: The release file as plain data.
        overrides: Texts of the form ``key.subkey=value``; a number as a key part picks a list element.

    Raises:
        SpecError: If an override has no ``=``, there is no such place, or it names ``dataset``, ``privacy_unit`` or anything in
            ``source`` but its ``path`` or ``table``.

    >>> apply_overrides({"budget": {"epsilon": 1}}, ["budget.epsilon=0.5"])
    {'budget': {'epsilon': Decimal('0.5')}}
    """
    result: dict[str, Any] = _copy(data)
    for text in overrides:
        path, separator, value = text.partition("=")
        where = f"--set {path}"
        parts = path.strip().split(".")
        if not separator or not all(parts):
            raise SpecError("an override has the form a.b=value", where=f"--set {text}", mend="write --set key=value")
        _check_free(parts, where)
        _assign(result, parts, parse_yaml(value, where=where), where)
    return result


def _check_free(parts: Sequence[str], where: str) -> None:
    names = [part.strip() for part in parts]
    if names[0] in _FIXED:
        raise SpecError(f"{names[0]} cannot be overridden from the command line", where=where, mend="change it in the file")
    if names[0] == "source" and (len(names) == 1 or names[1] not in _FREE_IN_SOURCE):
        raise SpecError(
            f"{'.'.join(names[:2])} cannot be overridden from the command line: it can make another column the privacy unit",
            where=where,
            mend="change it in the file; source.path and source.table can be overridden",
        )


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


def _assign(target: Any, parts: list[str], value: Any, where: str) -> None:
    for part in parts[:-1]:
        target = _step(target, part, where)
    if isinstance(target, list):
        target[_index(target, parts[-1], where)] = value
    elif isinstance(target, dict):
        target[parts[-1]] = value
    else:
        raise SpecError("there are no keys below this value", where=where, mend="check the names and the dots")


def _step(target: Any, part: str, where: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, where)]
    if not isinstance(target, dict):
        raise SpecError("there are no keys below this value", where=where, mend="check the names and the dots")
    if target.get(part) is None:
        target[part] = {}
    return target[part]


def _index(target: list[Any], part: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", part) or int(part) >= len(target):
        raise SpecError(
            f"the list there has no element {part!r}", where=where, mend=f"use a number from 0 to {len(target) - 1}"
        )
    return int(part)


def expand_variables(text: str, *, where: str, environment: Mapping[str, str] | None = None) -> str:
    """Replaces every ``${NAME}`` in a path, table name or option value by the environment variable NAME.

    Raises:
        SpecError: If a variable is not set. The error names the variable, never a value.

    >>> expand_variables("/data/${REGION}/x", where="source.path", environment={"REGION": "eu"})
    '/data/eu/x'
    """
    environment = os.environ if environment is None else environment

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            raise SpecError(f"the environment variable {name} is not set", where=where, mend=f"export {name}=...")
        return environment[name]

    return _VARIABLE.sub(replace, text)
