"""Names mean what they mean in Spark: a session's own function must not stand in the place of a built-in one.

``CREATE OR REPLACE TEMPORARY FUNCTION least AS ...`` and ``spark.udf.register("abs", ...)`` shadow what Spark has built in,
for expressions and for ``F.least`` alike: clipping could be gone. So the class behind every name that a release needs is
asked for before the charge: one query of the catalog, and no Spark job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pyspark.sql import SparkSession

from dp_spark.errors import DpSparkError, SpecError
from dp_spark.spark.errors import SPARK_ERRORS, condition

#: What dp_spark itself calls, by the names that Spark resolves; a column's operators are calls, too.
_CALLED = """
+ - * / % & | ~ ! = == < <= > >= <=> aggregate and array array_position avg between bit_and bit_count bit_or btrim case cast
coalesce convert_timezone count count_if decode dense_rank div explode explode_outer floor from_csv from_json get
get_json_object greatest grouping_id hash if
in is_valid_utf8 isnan isnotnull isnull least length max min monotonically_increasing_id named_struct nanvl negative not
octet_length or pmod regexp_extract regexp_replace rint rlike row_number sequence shiftleft shiftright struct
substring sum transform transform_values try_add try_subtract try_to_binary try_validate_utf8 unix_micros when
xxhash64
"""
INTERNAL = frozenset(_CALLED.split())
#: Words of the grammar, which no catalog has to list: nothing can stand in their place.
_NO_FUNCTIONS = frozenset(("case", "timestampdiff", "try_cast"))
#: Where the classes of built-in functions are: in Spark, and of what Databricks adds to it.
_BUILT_IN = ("org.apache.spark.sql.catalyst.expressions.", "com.databricks.sql.")


def check_functions(spark: SparkSession, names: Iterable[str]) -> None:
    """Refuses a session in which a name means something else than in Spark; reads metadata only.

    Args:
        spark: The session.
        names: The names that a release's expressions call, in lower case; those of ``INTERNAL`` come on top.

    Raises:
        SpecError: Naming the functions that are not the built-in ones.
        DpSparkError: If the platform does not say what a name means, or does not list it.
    """
    wanted = INTERNAL | set(names)
    try:
        found = spark.catalog.listFunctions(pattern="|".join(map(_literally, sorted(wanted))))
    except SPARK_ERRORS as error:
        raise DpSparkError(
            f"this platform does not say what the names of functions mean ({condition(error)})",
            mend="run where the catalog's functions may be listed (SHOW FUNCTIONS)",
        ) from None
    # A function of a database never comes before a built-in one, which is what has no namespace.
    meant: dict[str, list[str]] = {}
    for function in sorted(found, key=lambda item: bool(item.namespace)):
        classes = meant.setdefault(function.name.lower(), [])
        if not (function.namespace and classes):
            classes.append(function.className or "")
    check_meanings(wanted, meant)


def check_meanings(wanted: Collection[str], meant: Mapping[str, Sequence[str]]) -> None:
    """Judges what a catalog says about the names that are wanted.

    Args:
        wanted: The names, in lower case.
        meant: Name -> the classes behind it, for what the catalog lists.

    Raises:
        SpecError: Naming the functions that are not the built-in ones.
        DpSparkError: Naming those that are not listed.
    """
    foreign = sorted(name for name in meant.keys() & set(wanted) if not _is_built_in(name, meant[name]))
    if foreign:
        raise SpecError(
            f"the session has functions of its own in the place of Spark's: {', '.join(foreign)}",
            where="the Spark session",
            mend="run in a new session that registers no functions of these names: they cannot be dropped",
        )
    unknown = sorted(set(wanted) - meant.keys() - _NO_FUNCTIONS)
    if unknown:
        raise DpSparkError(
            f"this platform's catalog does not list these functions, so what they mean is not known: {', '.join(unknown)}",
            mend="run where SHOW FUNCTIONS lists Spark's built-in functions, or leave those of the release file out",
        )


def _is_built_in(name: str, classes: Sequence[str]) -> bool:
    # A word of the grammar is listed as one, without a class; a function that is registered by its name comes on top.
    word = name == "case" and list(classes) == [""]
    return word or all(class_name.startswith(_BUILT_IN) for class_name in classes)


def _literally(name: str) -> str:
    """A name as the pattern of exactly this name: Spark makes a regular expression of it, ``*`` and ``|`` aside."""
    return name if name.isidentifier() else "".join(f"\\x{ord(character):02x}" for character in name)
