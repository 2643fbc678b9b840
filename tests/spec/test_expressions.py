from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot.tokens import TokenType

from dp_spark.engine.time_guard import check_compared
from dp_spark.errors import SpecError
from dp_spark.spec.expressions import check_expression, check_type
from dp_spark.spec.row_functions import ALLOWED_FUNCTIONS

PARAMETERS: dict[str, Any] = {"since": 0, "flag": True, "word": "now", "low": -5, "upper": "x", "rate": Decimal("0.5")}


def check(text: str, parameters: dict[str, Any] | None = None) -> Any:
    return check_expression(text, PARAMETERS if parameters is None else parameters, where="preprocess.0.filter")


def refused(text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        check(text)
    assert caught.value.where == "preprocess.0.filter"
    assert caught.value.mend
    return caught.value


ALLOWED = r"""
x
null
true and not false
value is not null and value > 0
days >= 365 or days < -1
a <=> b
a == b
a != b and a <> b
x between 1 and 2
x in (1, 2, 3)
name in ('a', 'b')
name like 'a%'
name not like '%b'
name ilike 'A%'
name rlike '^a[0-9]+$'
like(name, 'a%')
rlike(name, 'a')
s + interval 1 day
regexp_like(name, 'a')
case when a then b else c end
case x when 1 then 'one' else 'other' end
case (x) when (1) then (2) else (3) end
if(x > 0, 1, 0)
coalesce(a, b, 0)
nvl(a, 0)
nullif(a, 0)
cast(floor(days / 365) as int)
cast(x as decimal(10, 2))
try_cast(x as int)
x::int
int(x)
double(x)
round(x, 2)
x % 7
x div 7
-x
~x
x & 3 | 4 ^ 5
a || b
abs(x) + ceil(y) - floor(z) * sqrt(w) / ln(v)
upper(trim(name))
concat(a, '-', b)
substring(name, 1, 3)
substring(name from 1 for 3)
position('a' in name)
trim(both 'x' from name)
length(name)
replace(name, 'a', 'b')
regexp_replace(name, '[^a-z]', '')
regexp_extract(name, '([0-9]+)', 1)
split_part(name, ',', 1)
lpad(name, 5, '0')
date '2024-01-31'
timestamp '2024-01-31 10:00:00'
to_date(text, 'yyyy-MM-dd')
to_timestamp(text, 'yyyy-MM-dd HH')
date_add(day, 3)
date_sub(day, 3)
add_months(day, 1)
date_trunc('month', at)
trunc(day, 'MM')
date_format(at, 'yyyy')
extract(year from at)
year(at) * 12 + month(at)
datediff(a, b)
months_between(a, b)
from_utc_timestamp(at, 'Europe/Berlin')
to_utc_timestamp(at, 'UTC')
unix_timestamp(text, 'yyyy')
width_bucket(x, 0, 100, 10)
greatest(least(x, 100), 0)
isnan(x)
nanvl(x, 0)
sha2(name, 256)
hash(a, b)
pmod(x, 5)
try_divide(a, b)
struct_column.field
`odd name` > 0
`a-b.c`
'it''s'
'-- not a comment; rand()'
"double quoted"
'a' 'b'
1e3 + 1L + 1.5BD + .5
now
rand
x[0]
x[i + 1]
x['a']
x['a'].b[2]
array[0]
`array`[i + 1] + list['a']
split(name, '\\|')
element_at(x, 1)
element_at(x, -1)
element_at(x, 'key')
array_contains(x, y)
array_size(x)
size(split(name, ','))
split(name, ',')
split(name, '[|]', 2)[0]
day + interval 1 day
day - interval '1' month
interval '1' day + day
at + interval '1 day 2 hours'
at + interval 1 day 2 hours
at - interval '1-2' year to month
at - other < interval 30 minutes
at - other between interval 1 day and interval 2 days
day + (-interval 1 day)
from_unixtime(x)
from_unixtime(x, 'yyyy-MM')
timestamp_seconds(x)
timestamp_millis(x)
timestamp_micros(x)
timestampdiff(day, a, b)
TIMESTAMPDIFF(MONTH, a, b)
dayname(day)
monthname(day)
decode(x, 'utf-8')
decode(x, 1, 'one', 2, 'two', 'other')
decode(x, y, 'same')
name like any ('a%', '_b')
name not like any ('a%')
name ilike any ('A%', 'b')
name like all ('a%', '%b')
name like some ('a%', 'b')
""".strip().splitlines()


@pytest.mark.parametrize("text", ALLOWED)
def test_row_wise_expressions_are_allowed_and_left_as_written(text: str) -> None:
    assert check(text).sql == text


@pytest.mark.parametrize("text", ["get_json_object(name, '$.a')", "name like 'a/%' escape '/'", "user_metadata is not null"])
def test_what_the_allow_list_promises_is_not_refused(text: str) -> None:
    assert check(text).sql == text


REFUSED = r"""
rand() < 0.5
RAND()
rand ()
randn()
random()
`rand`()
`int`(x)
`floor` (x)
upper(`hour`(s))
`cast`(x as int)
`timestamp`(s)
`case`(x)
cast(x as `bigint`)
x::`int`
uuid()
shuffle(x)
monotonically_increasing_id()
spark_partition_id()
input_file_name()
input_file_block_start()
now()
current_date
current_date()
CURRENT_TIMESTAMP
current_timestamp()
current_time
current_timezone()
current_user
current_user()
session_user
user
localtimestamp
x.user
current_catalog()
current_database
version()
unix_timestamp()
to_unix_timestamp()
curdate()
date 'now'
date'today'
date "now"
DATE 'tomorrow'
timestamp 'now'
timestamp_ntz 'now'
timestamp_ltz 'yesterday'
timestamp ' now'
timestamp '\u006eow'
date r'now'
(select 1)
x in (select y from t)
exists(select 1)
x = (select max(y) from t)
x in (from t)
(table t)
x in (table t)
(values (1))
x in (values 1)
with t as (select 1) select * from t
select x
sum(x)
count(*)
count(x) > 1
avg(x)
max(x)
min(x)
first(x)
any_value(x)
percentile(x, 0.5)
collect_list(x)
approx_count_distinct(x)
grouping_id()
sum(x) over (partition by y)
row_number() over (order by x)
ln(x) over w
ln(x) over (order by x)
lag(x)
lead(x)
ntile(4)
explode(x)
explode(array(1, 2))
posexplode(x)
inline(x)
stack(2, a, b)
json_tuple(x, 'a')
reflect('java.lang.System', 'getenv', 'X')
java_method('java.util.UUID', 'randomUUID')
try_reflect('a', 'b')
raise_error('x')
assert_true(x > 0)
my_udf(x)
`my udf`(x)
db.f(x)
cat.db.f(x)
`db`.`f`(x)
system.builtin.rand()
identifier('rand')()
identifier('x')
_metadata
_metadata.file_path
_METADATA.file_name
`_metadata`.file_size
x -- rand()
x /* rand() */
/*+ hint */ x
{# x #} y
x; y
x;
'a\'' or rand() > 0 --'
"a\""
'a\\'
r'a'
filter(x, y -> y > 0)
transform(x, y -> y)
aggregate(x, 0, (a, b) -> a + b)
x -> x
upper(str => x)
x as y
x y
*
t.*
coalesce(*)
hash(*)
struct(*)
interval 1 day
make_interval(1)
cast(x as array<int>)
cast(x as map<string, int>)
cast(x as struct<a: int>)
cast(x as interval)
cast(x as binary)
cast(x as variant)
cast(x as string collate utf8_lcase)
x::array<int>
x collate unicode
array(1, 2)
map('a', 1)
struct(x)
named_struct('a', x)
sequence(1, x)
repeat(name, n)
space(n)
format_string(x, y)
to_number(x, '999')
conv(x, 10, 16)
aes_decrypt(x, y)
parse_json(x)
from_json(x, 'a int')
schema_of_json('{}')
to_char(x, y)
elt(n, a, b)
try_element_at(x, 1)
make_timestamp(1, 2, 3, 4, 5, 6)
date_from_unix_date(x)
bit_count(x)
unbase64(x)
url_decode(x)
name like pattern
name not like pattern
name ilike pattern
name rlike pattern
name regexp pattern
like('abc', pattern)
rlike('abc', pattern)
regexp_like('abc', pattern)
regexp_replace(name, pattern, 'x')
regexp_replace(name, 'a', other)
regexp_extract(name, pattern, 1)
regexp_extract(name, 'a', n)
split_part(name, ',', n)
lpad(name, n, ' ')
date_add(day, n)
date_sub(day, n)
add_months(day, n)
to_date(text, format)
to_timestamp(text, format)
date_format(at, format)
from_utc_timestamp(at, zone)
to_utc_timestamp(at, zone)
unix_timestamp(text, format)
date_part(field, at)
next_day(day, name)
x[1:2]
x[rand()]
x[(select 1)]
[1, 2]
element_at(x, 0)
element_at(x, -0)
element_at(x, +0)
element_at(x, 0L)
element_at(x, i)
element_at(x, '' '0')
element_at(x, true)
element_at(x)
split(name, pattern)
split(name, ',', n)
split(name, ',', '2')
split(name, r'(a|b)*')
split(name, '(a|b)*')
day + interval n day
day + interval (n) day
day + interval '1' + n
interval 1 day + interval 1 day
interval '1' day
2 * interval 1 day
coalesce(day, interval 1 day)
cast(interval 1 day as string)
from_unixtime(x, format)
decode(x, charset)
decode(x, 'utf-7')
decode(x, 'GBK')
decode(x, 8)
decode(x)
name like any (pattern, 'b')
name like any ('b', upper(pattern))
name like any pattern
name like any (select y from t)
name like all (select y from t)
x = any (select y from t)
any(x)
all(x)
some(x)
every(x)
`like` any ('a')
name rlike any ('a')
(1, 2)
x similar to y
x is of (int)
x << 2
upper(distinct x)
X'1F'
@x
$1
?
x ? y
${spark.app.id}
x =
(x
x)
'open
""".strip().splitlines()


@pytest.mark.parametrize("text", [*REFUSED, "", "   "])
def test_anything_else_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rand() < 0.5", "rand"),
        ("upper(uuid())", "uuid"),
        ("case when x then Reflect('a', 'b') end", "reflect"),
        ("my_udf(x)", "my_udf"),
        ("sum(x)", "sum"),
        ("current_date > x", "current_date"),
        ("_metadata.file_name = 'a'", "_metadata"),
        ("raise_error('patient 7')", "raise_error"),
        ("`Floor`(x)", "floor is not allowed in backticks"),
        ("x::`BIGINT`", "bigint is not allowed in backticks"),
        (r"split(s, r'\|')", "every backslash twice"),
    ],
)
def test_the_refusal_names_the_function(text: str, name: str) -> None:
    assert name in refused(text).message


@pytest.mark.parametrize("text", ["db.upper(x)", "cat.db.upper(x)", "x.abs(y)", "db.`upper`(x)", "`db`.upper(x)"])
def test_a_function_of_a_database_is_refused_whatever_its_name(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "regexp_replace('abc', pattern, 'y')",
        "regexp_extract('abc', pattern, 1)",
        "to_date('2024-01-01', format)",
        "to_timestamp('2024-01-01', format)",
        "unix_timestamp('2024', format)",
        "date_format(date '2024-01-01', format)",
        "date_add(date '2024-01-01', n)",
        "date_sub(date '2024-01-01', n)",
        "add_months(date '2024-01-01', n)",
        "lpad('x', n, ' ')",
        "rpad('x', n)",
        "split_part('a,b', delimiter, 1)",
        "split_part('a,b', ',', n)",
        "next_day(date '2024-01-01', name)",
        "get_json_object('{}', path)",
        "date_trunc(unit, at)",
        "trunc(day, unit)",
        "width_bucket(1, x, 10, 5)",
    ],
)
def test_a_constant_first_argument_does_not_let_a_column_be_the_pattern(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("text", ["'${env:HOME}'", "name = '${SECRET}'", "`${spark.app.name}`", "'${system:user.home}' = x"])
def test_sparks_own_variable_substitution_is_refused(text: str) -> None:
    # SparkSqlParser replaces ${...} also inside quotes, before it parses: what runs is not what was checked.
    refused(text)


@pytest.mark.parametrize(
    "text", ["regexp_extract(name, '(a)', 5)", "regexp_replace(name, 'a', '$5')", "split_part(name, ',', 0)"]
)
def test_constants_that_fail_only_for_rows_that_match_are_refused(text: str) -> None:
    # Spark checks the group, or the zero, only where a row matches: a failing run would tell that one does.
    refused(text)


@pytest.mark.parametrize("text", ["u\u017fer", "`current_date`", "`user`", "`Current_Timestamp`"])
def test_a_bare_call_in_disguise_must_be_a_column(text: str) -> None:
    # Spark resolves these to functions where no such column exists: the caller checks that the columns named here do.
    assert check(text).columns == {text.strip("`")}


def test_a_bare_call_that_the_parser_knows_in_disguise_is_refused() -> None:
    assert "not allowed" in refused("current_u\u017fer").message


@pytest.mark.parametrize(("before", "after"), [("(", ")"), ("not ", "")], ids=["brackets", "nots"])
def test_deep_nesting_is_refused_without_a_traceback(before: str, after: str) -> None:
    """Below the limit of an expression's length, which would refuse it first, and above it."""
    tokens = len(before.strip() + after)
    for depth, message in ((499 // tokens, "is not a Spark SQL expression"), (5000, "too long")):
        assert message in refused(before * depth + "x" + after * depth).message


def test_an_expression_has_an_end_with_its_parameters_in_it() -> None:
    """Conditions and definitions of units stand in manifests and in the ledger."""
    for size, refused_there in ((9_000, False), (10_000, True)):
        for text, parameters in ((f"x = '{'a' * size}'", {}), ("x = :p", {"p": "a" * size})):
            if refused_there:
                with pytest.raises(SpecError, match="too long: more than 10,000 characters") as caught:
                    check_expression(text, parameters, where="aggregates.n.where")
                assert (caught.value.where, bool(caught.value.mend)) == ("aggregates.n.where", True)
            else:
                assert len(check_expression(text, parameters, where="w").sql) > size


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a + b > 1", {"a", "b"}),
        ("s.field = 'c'", {"s"}),
        ("`odd name` = `x.y`", {"odd name", "x.y"}),
        ("case when a then b else c end", {"a", "b", "c"}),
        ("'text' = :word", set()),
        ("date_trunc('month', at)", {"at"}),
        ("trim(both a from b)", {"a", "b"}),
        ("array[0] + `list`[i] + s.array[1]", {"array", "list", "i", "s"}),
    ],
)
def test_the_columns_are_those_it_reads(text: str, columns: set[str]) -> None:
    assert check(text).columns == columns


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("days >= :since", "days >= 0"),
        (":since + :since", "0 + 0"),
        ("x > :low", "x > (-5)"),
        ("x - :low", "x - (-5)"),
        ("x-:low", "x-(-5)"),
        ("x in (:since, :low)", "x in (0, (-5))"),
        ("x = :rate", "x = 0.5D"),
        ("x = :flag", "x = true"),
        ("name = :word", "name = 'now'"),
        ("name = ':since'", "name = ':since'"),
        ("name like :word", "name like 'now'"),
        ("(:since)", "(0)"),
    ],
)
def test_parameters_are_bound_as_literals(text: str, sql: str) -> None:
    assert check(text).sql == sql


@pytest.mark.parametrize(
    "text",
    ["not:flag", "a and:flag", "x between:since and:since", "x or:flag", "case when a then:since end", "name like:word"],
)
def test_a_bound_literal_never_melts_into_the_word_before_it(text: str) -> None:
    spaced = text.replace(":", " :")
    assert [token.text for token in sqlglot.tokenize(check(text).sql, read="spark")] == [
        token.text for token in sqlglot.tokenize(check(spaced).sql, read="spark")
    ]


@pytest.mark.parametrize(
    "text", ["x > :nope", "x > :Since", ":nope", "x:since", "date :word", "timestamp:word", ":upper(x)", "'a':since"]
)
def test_undeclared_or_misplaced_parameters_are_refused(text: str) -> None:
    refused(text)


def test_an_undeclared_parameter_is_named() -> None:
    assert ":nope" in refused("x > :nope").message


HOSTILE = [
    "' or rand() > 0 --",
    "'",
    "''",
    "\\",
    "\\'",
    "\\\\' or true --",
    '"',
    "`",
    "${env:HOME}",
    "a\nb\r\n\t",
    "\u0000\u0001",
    "/* */ -- ;",
    "\U0001f600 ü é",
    ":since",
    "%_",
    "\\u0027",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_text_parameter_stays_one_string_literal(value: str) -> None:
    bound(value)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_parameter_stays_one_string_literal(value: str) -> None:
    bound(value)


def bound(value: str) -> None:
    sql = check("name = :word and x > 0", {"word": value}).sql
    kinds = [token.token_type for token in sqlglot.tokenize(sql, read="spark")]
    assert kinds == [
        TokenType.VAR,
        TokenType.EQ,
        TokenType.STRING,
        TokenType.AND,
        TokenType.VAR,
        TokenType.GT,
        TokenType.NUMBER,
    ]
    literal = sql.removeprefix("name = ").removesuffix(" and x > 0")
    inner = literal[1:-1]
    assert (literal[0], literal[-1]) == ("'", "'")
    assert not {"'", '"', "`", "$", ";", "*", "\n"} & set(inner)
    assert unescaped(inner) == value


def unescaped(text: str) -> str:
    """What Spark makes of ``\\uXXXX`` and ``\\UXXXXXXXX`` in a string literal."""
    result, position = "", 0
    while position < len(text):
        width = {"\\u": 4, "\\U": 8}.get(text[position : position + 2])
        if width is None:
            result, position = result + text[position], position + 1
        else:
            start = position + 2
            result, position = result + chr(int(text[start : start + width], 16)), start + width
    return result


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=10))
def test_a_decimal_parameter_keeps_its_value(value: Decimal) -> None:
    sql = check("x > :d", {"d": value}).sql.removeprefix("x > ")
    assert sql.startswith("(") == (value < 0)
    assert sql.strip("()").endswith("D")
    assert Decimal(sql.strip("()").removesuffix("D")) == value


@pytest.mark.parametrize(
    "text",
    ["int", "STRING", " double ", "decimal(10,2)", "decimal( 38 , 0 )", "numeric", "timestamp_ntz", "boolean", "date"],
)
def test_simple_types_are_allowed(text: str) -> None:
    assert check_type(text, where="w") == text.strip()


@pytest.mark.parametrize(
    "text",
    ["", "array<int>", "map<string,int>", "struct<a:int>", "binary", "interval", "variant", "int; drop", "int, b int",
     "decimal(10,2", "decimal(-1)", "string collate unicode", "char(5)", "varchar(3)", "void", "int comment 'x'"],
)  # fmt: skip
def test_other_types_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_type(text, where="preprocess.0.cast.x")
    assert caught.value.where == "preprocess.0.cast.x"


@pytest.mark.parametrize(
    "text",
    [
        "cast(s as time)", "cast(cast(s as time) as timestamp_ntz)", "cast(s as text)", "S::UUID", "(s)::text::string",
        "try_cast(s as number)", "cast(s as datetime)", "s::timestamp without time zone", "cast(s as double precision)",
        "cast(s as timestamp with time zone)", "s::decimal(3, 1)::varchar2", "cast(s as int format 'x')", "s::decimal()",
        "datetime '2020-01-01' = d", "time '2020-01-01' = d", "int '5' = 1", "text 'a' = s",
    ],
)  # fmt: skip
def test_types_are_judged_as_the_author_wrote_them(text: str) -> None:
    assert "type" in refused(text).message


@pytest.mark.parametrize(
    "text",
    ["cast(`as` as decimal( 10, 2 )) > cast('5' as int)", "trim(both 'x' from s::string)", "s::long[0]", "s::byte in (1, 2)",
     "case when date in ('a') then 'x' else 'b' end", "struct between 'a' and 'b'", "text like 'y'", "cast(s as real) = '5'"],
)  # fmt: skip
def test_sparks_own_types_and_columns_named_like_types_are_read(text: str) -> None:
    assert check(text).sql == text


FORBIDDEN = [
    "rand",
    "randn",
    "random",
    "uuid",
    "shuffle",
    "now",
    "current_date",
    "current_timestamp",
    "current_user",
    "user",
    "version",
    "reflect",
    "java_method",
    "raise_error",
    "assert_true",
    "input_file_name",
    "monotonically_increasing_id",
    "spark_partition_id",
    "sum",
    "count",
    "avg",
    "min",
    "max",
    "first",
    "last",
    "explode",
    "repeat",
    "space",
    "sequence",
    "array",
    "map",
    "struct",
    "transform",
    "filter",
    "aggregate",
    "from_json",
    "to_json",
    "format_string",
    "to_number",
    "make_timestamp",
    "make_interval",
]


def test_no_forbidden_function_ever_enters_the_list() -> None:
    assert not ALLOWED_FUNCTIONS & set(FORBIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "cast('now' as timestamp)", "date('today')", "to_timestamp(' Now ')", "cast(concat('no', 'w') as timestamp)",
        "s rlike '^(a|b)*$'", "regexp_like(s, '(a|b)+')", r"s rlike '\u0028a|b)*'", "regexp_extract(s, '(a)(b){2}', 1)",
        "round(x, -2)", "floor(x, -1)", "substring_index(s, '-', i)",
    ],
)  # fmt: skip
def test_the_clock_repeated_groups_and_rounding_before_the_point_are_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "text", ["s = 'now'", r"s rlike '^[ab]*(c|d)$'", r"s rlike '[^)]*'", "round(x, 2)", "floor(x / 100) * 100"]
)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    check_expression(text, {}, where="preprocess.0.filter")


@pytest.mark.parametrize(
    "text",
    [
        "to_date(concat('to', 'day'))", "try_to_timestamp('no' 'w')", "to_date('to' || 'day')", "cast('n\\ow' as timestamp)",
        r"cast('\u0001now' as timestamp)", r"cast('\016\156ow' as date)", "dayofyear('now')", "date_add('today', 1)",
        "datediff(d, lower('NOW'))", "year(replace('nxow', 'x', ''))", "to_date(if(true, 'now', 'x'))",
        "to_date(case when true then 'n' else 'm' end)", "to_date(coalesce(null, 'x'))", "weekofyear(trim(' now '))",
        "d > to_date('2020-01-01') and s = upper('x')", "to_date(nvl2(null, 'a', 'now'))", "hour(substring('snow', 2))",
        "to_date(date_format(date '2020-01-01', 'MM'))", "to_date(string(1))", "to_date(cast(1 as string))",
        "at > timestamp '12:30'", "timestamp '12:30:00' < at", "to_date(:word)", "to_date(concat(:word))",
    ],
)  # fmt: skip
def test_no_constant_text_can_become_the_clock(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "d >= date '2020-01-01'", "d >= to_date('2020-01-01', 'yyyy-MM-dd')", "d >= cast('2020-01-01' as date)",
        "d >= make_date(2020, 1, 1)", "year(d) - (2000 + 1) > abs(-3)", "concat('Q', quarter(d)) = 'Q1'",
        "date_format(at, 'HH:mm') >= '08:00'", "year(d) in (2020, 2021)", "to_date(concat(s, '-01'))",
        "date_trunc('month', timestamp '2020-01-01 00:00:00') < at", "s = concat('a', 'b')",
    ],
)  # fmt: skip
def test_constants_beside_dates_are_not_refused_for_the_clock(text: str) -> None:
    assert check(text).sql == text


@pytest.mark.parametrize(
    "text", ["s = concat('to', 'day')", "d > 'no' || 'w'", r"d = 'n\ow'", "d in ('a' 'b')", "d > 'Today UTC'"]
)
def test_a_text_that_may_be_the_clock_is_known_where_columns_may_be_dates(text: str) -> None:
    assert check(text).names_clock, "time_guard refuses it where a column is a date"


def test_what_spark_looks_up_and_compiles_is_told() -> None:
    found = check("case when not trim(both 'a' from s) rlike 'b' then extract(year from d) between 1 and 2 end")
    assert {"not", "trim", "rlike", "extract", "year", "between"} <= found.functions
    assert check("x = 'abs(' and `abs` > 1").functions == {"abs"}, "a column's name may be a function's: asked once too often"
    assert check("regexp_replace(s, '[', '') = 'x' or s rlike :word").patterns == ("'['", "'now'")


@pytest.mark.parametrize(
    ("text", "compared", "added"),
    [
        ("decode(at, s, 1, t, 2)", ("at", "s", "t"), None),
        ("decode(at, s, 1, t, 2, u)", ("at", "s", "t"), None),
        ("m[s]", ("m", "s"), None),
        ("try_subtract(at, s)", None, ("at", "s")),
        ("try_add(s, i)", None, ("s", "i")),
        ("s + i", None, ("s", "i")),
        ("s - i", None, ("s", "i")),
    ],
)
def test_what_stands_beside_one_another_is_told(
    text: str, compared: tuple[str, ...] | None, added: tuple[str, ...] | None
) -> None:
    found = check(text)
    assert (found.compared, found.added) == ((compared,) if compared else (), (added,) if added else ())


KINDS = {"at": "timestamp", "ntz": "timestamp_ntz", "s": "string", "m": "map<timestamp,int>", "i": "interval day", "n": "int"}


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("decode(at, s, 1, 0)", True), ("decode(at, '12:30', 1, 0)", True), ("m[s]", True), ("try_subtract(at, s)", True),
        ("s + i", True), ("try_add('12:30', i)", True), ("s - interval '1' day", True), ("unread(x) = s", True),
        ("at > unread(x)", True), ("m['2020-01-01']", False), ("at + i", False), ("ntz = s", False), ("s = i", False),
        ("unread(x) > n", False), ("decode(n, s, 1, 0)", False), ("n + s", False), ("at = at", False),
    ],
)  # fmt: skip
def test_a_text_beside_a_timestamp_is_refused_and_so_is_what_spark_cannot_read(text: str, clock: bool) -> None:
    def type_of(part: str) -> str:
        return "interval day" if "INTERVAL" in part else "string" if part[0] == "'" else KINDS.get(part, "")

    expression = check(text.replace("unread", "abs"))
    with pytest.raises(SpecError, match="one of today") if clock else contextlib.nullcontext():
        check_compared(expression, type_of, "preprocess.0.filter")


# --- columns that are named like words of SQL -------------------------------------------------------------------------

WORDS = """
add all alter analyze and any array as asc between by cache call case check column comment commit create cross cube
current_date current_timestamp current_user database date day delete desc describe distinct drop else end escape except
execute exists explain false fetch first for from full function grant group having if ilike in inner insert intersect
interval into is join last lateral left like limit list load localtimestamp lock map merge minus month natural not null
offset on or order outer over partition pivot position range refresh rename replace reset revoke right rlike rollback row
rows schema select session_user set show some start struct substring table tablesample then time timestamp to trim true
truncate type uncache union unique unpivot update use user using values view when where while window with year
"""
SHAPES = ["{} > 1", "x = {}", "{} is null", "coalesce({}, 1) = 2", "x > 1 and {} < 3", "s.{} = 2", "not {} > 1"]
LITERALS = ("true", "false", "null")


@pytest.mark.parametrize("word", WORDS.split())
def test_a_word_of_sql_is_read_as_a_column_or_the_mend_works(word: str) -> None:
    for shape in SHAPES:
        text, name = shape.format(word), "s" if "s." in shape else word
        mend = ""
        try:
            found = check(text)
        except SpecError as error:
            mend, found = error.mend, check(shape.format(f"`{word}`"))
        assert not mend or f"`{word}`" in mend, text
        assert name in found.columns or word in (*LITERALS, "not"), text


def test_several_words_are_named_at_once() -> None:
    for text in ("user = 'a' and values > 3", "case when user = 1 then select end > 0"):
        mend = refused(text).mend
        words = ["user", "values"] if "values" in text else ["user", "select"]
        assert all(f"`{word}`" in mend for word in words)
        for word in words:
            text = text.replace(word, f"`{word}`")
        assert set(words) <= check(text).columns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cast(user as bigint)", "`user`"),
        ("cast(values as decimal(10, 2)) > 5L", "`values`"),
        ("user::string", "`user`"),
        ("cast(select as date) - interval 1 day", "`select`"),
        ("if(user = 1, values, show)", "`user`, `values`"),
        ("set + case + date", "`case`"),
        ("cast(all as string) = user", "`all`, `user`"),
    ],
)
def test_only_the_words_that_must_be_are_named_and_no_type_and_no_call(text: str, words: str) -> None:
    assert refused(text).mend.partition("backticks: ")[2] == words
    for word in words.split(", "):
        text = text.replace(word.strip("`"), word)
    check(text)


@pytest.mark.parametrize("text", ["sum(x)", "x in (values 1)", "(select 1)", "x as y", "rand()", "x similar to y"])
def test_backticks_are_advised_only_where_they_help(text: str) -> None:
    assert "backticks:" not in refused(text).mend


@pytest.mark.parametrize("text", ["comment = 'a'", "set > 1", "show is null", "alter + 1", "call x", "(describe x)"])
def test_the_parser_says_nothing_of_its_own(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.suppress(SpecError):
        check(text)
    assert not caplog.records
