"""One table behind JDBC has one budget, whichever of its addresses is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dp_spark.places.identities import covers_source, joined_identities, same_source
from dp_spark.places.jdbc_addresses import jdbc_identities
from dp_spark.spec.source_options import reading_problems

Table = tuple[str, str]


def identity(table: Table) -> str:
    return joined_identities(jdbc_identities(*table))


SAME: list[tuple[Table, Table]] = [
    (("jdbc:mysql://h/a", "t"), ("jdbc:mariadb://h:3306/a", "t")),
    (("jdbc:mysql://h/a", "t"), ("jdbc:mysql://h/b", "a.t")),
    (("jdbc:mysql://h/c", "a.t"), ("jdbc:mariadb://H./b?useSSL=true", "A.T")),
    (("jdbc:mysql://h/a", "t"), ("jdbc:mysql://me:p;w@h/a", "t")),
    (("jdbc:mysql://h2/a", "t"), ("jdbc:mysql:replication://h1,h2:3306/a", "t")),
    (("jdbc:mysql://h2:3307/a", "t"), ("jdbc:mysql://address=(host=h1)(port=1),address=(host=h2)(port=3307)(user=u)/a", "t")),
    (("jdbc:mysql://h2/a", "t"), ("jdbc:mysql://me:pw@[h1,h2]/a", "t")),
    (("jdbc:mysql://h2:1/a", "t"), ("jdbc:mysql:loadbalance://(host=h1,port=2),(host=h2,port=1)/a", "t")),
    (("jdbc:mysql:///a", "t"), ("jdbc:mysql://127.0.0.1/a", "t")),
    (("jdbc:postgresql:ward", "t"), ("jdbc:postgresql://localhost/ward", "public.t")),
    (("jdbc:postgresql://h1:5432,h2:5433/ward", "t"), ("jdbc:postgresql://h2:5433/ward?targetServerType=primary", "t")),
    (("jdbc:postgresql://h/ward", "t"), ("jdbc:aws-wrapper:postgresql://h/ward", "ward.public.t")),
    (("jdbc:postgresql://h/", "t"), ("jdbc:postgresql://h/ward", "t")),
    (("jdbc:postgresql://h/my%20ward", "t"), ("jdbc:postgresql://h/my ward", "t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://h;databaseName=b", "a.dbo.t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://h;user=me;database=A", "dbo.t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://;serverName=h;databaseName=a", "t")),
    (("jdbc:sqlserver://h\\inst;databaseName=a", "t"), ("jdbc:sqlserver://h:4711;databaseName=a", "t")),
    (("jdbc:sqlserver://h;instanceName=inst;databaseName=a", "t"), ("jdbc:sqlserver://h:4711;databaseName=a", "t")),
    (("jdbc:sqlserver://h2;databaseName=a", "t"), ("jdbc:sqlserver://h1;failoverPartner=h2;databaseName=a", "t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:jtds:sqlserver://h:1433/a", "t")),
    (("jdbc:sqlserver://h", "a.dbo.t"), ("jdbc:sqlserver://h", "t")),
    (("jdbc:oracle:thin:@h:1521:sid", "t"), ("jdbc:oracle:thin:@//h/service", "me.t")),
    (("jdbc:oracle:thin:scott/tiger@//h:1521/s", "t"), ("jdbc:oracle:oci:@tcp://h:1521/s", "t")),
    (("jdbc:oracle:thin:@h:1521:s", "t"),
     ("jdbc:oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST= h )(PORT=1521))(CONNECT_DATA=(SID=s)))", "t")),
    (("jdbc:db2://h:50000/ward:user=u;", "t"), ("jdbc:db2://h/ward", "me.t")),
    (("jdbc:clickhouse://h/a", "t"), ("jdbc:clickhouse://h/b", "a.t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://;server=h;databaseName=a", "t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://decoy;server=h;databaseName=a", "t")),
    (("jdbc:sqlserver://h:1500;databaseName=a", "t"), ("jdbc:sqlserver://h;portNumber=1500;databaseName=a", "t")),
    (("jdbc:sqlserver://h:1500;databaseName=a", "t"), ("jdbc:sqlserver://;server=h;port=1500;databaseName=a", "t")),
    (("jdbc:sqlserver://h2:1500;databaseName=a", "t"),
     ("jdbc:sqlserver://h1:1500;port=1500;failoverPartner=h2;databaseName=a", "t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://h;password={x;serverName=b;database=c};database=a", "t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://h;databaseName=b;database=a", "t")),
    (("jdbc:mysql://h/a", "t"), ("jdbc:mysql://h/a?database=decoy", "t")),
    (("jdbc:clickhouse://h:8123/mysql", "t"), ("jdbc:clickhouse://h:8123/default", "mysql.t")),
    (("jdbc:clickhouse://mysql:pw@h/a", "t"), ("jdbc:ch:https://h:8443/a", "t")),
    (("jdbc:snowflake://oracle.x.com/?db=a", "t"), ("jdbc:snowflake://oracle.x.com/?db=b", "a.public.t")),
    (("jdbc:edb://h:5432/ward", "t"), ("jdbc:postgresql://h/ward", "t")),
]  # fmt: skip

OTHER: list[tuple[Table, Table]] = [
    (("jdbc:mysql://h/a", "t"), ("jdbc:mysql://h/b", "t")),
    (("jdbc:mysql://h/a", "t"), ("jdbc:mysql://h/a", "u")),
    (("jdbc:mysql://h:3306/a", "t"), ("jdbc:mysql://h:3307/a", "t")),
    (("jdbc:mysql://h/a", "t"), ("jdbc:postgresql://h/a", "t")),
    (("jdbc:mysql://h1,h2/a", "t"), ("jdbc:mysql://h3,h4/a", "t")),
    (("jdbc:postgresql://h/a", "t"), ("jdbc:postgresql://h/b", "t")),
    (("jdbc:postgresql://h/a", "one.t"), ("jdbc:postgresql://h/a", "two.t")),
    (("jdbc:sqlserver://h;databaseName=a", "t"), ("jdbc:sqlserver://h;databaseName=b", "t")),
    (("jdbc:oracle:thin:@h:1521:s", "a.t"), ("jdbc:oracle:thin:@h:1521:s", "b.t")),
    (("jdbc:clickhouse://h/a", "t"), ("jdbc:clickhouse://h/b", "t")),
    (("jdbc:derby:memory:a", "t"), ("jdbc:derby:memory:b", "t")),
    (("jdbc:sqlserver://h:1500;databaseName=a", "t"), ("jdbc:sqlserver://h;databaseName=a", "t")),
    (("jdbc:sqlserver://decoy;databaseName=a", "t"), ("jdbc:sqlserver://h;user={;server=decoy};databaseName=a", "t")),
    (("jdbc:sqlite:/mysql/a.db", "t"), ("jdbc:sqlite:/mysql/b.db", "t")),
]


@pytest.mark.parametrize(
    "url", [
        "postgresql://decoy/ward?PGHOST=real", "postgresql://h/ward?ssl=true&pgport=1", "aws-wrapper:postgresql://h/a?PGDBNAME=b",
        "postgresql:///?service=real", "redshift:iam://h/a?PGHOST={real}", "pgsql://h/a?password={x&PGHOST=real}",
    ],
)  # fmt: skip
def test_a_setting_that_leads_to_another_server_is_refused(url: str) -> None:
    options = {"url": f"jdbc:{url}", "dbtable": "t"}
    [(key, problem, mend)] = reading_problems("jdbc", options)
    assert (key, "PGHOST" in problem, "real" in problem + mend) == ("url", True, False)
    assert not list(reading_problems("jdbc", options | {"url": f"jdbc:{url.partition('?')[0]}?ssl=true"}))
    assert not list(reading_problems("jdbc", options | {"url": "jdbc:mysql://h/a?service=x"}))


@pytest.mark.parametrize(("one", "other"), SAME, ids=[f"{a[0][5:]} {a[1]} = {b[0][5:]} {b[1]}" for a, b in SAME])
def test_one_table_has_one_identity(one: Table, other: Table) -> None:
    assert same_source(identity(one), identity(other))
    assert same_source(identity(other), identity(one))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_other_tables_are_others(one: Table, other: Table) -> None:
    assert not same_source(identity(one), identity(other))


@pytest.mark.parametrize("scheme", ["sqlite:", "sqlite:file:", "duckdb:", "h2:file:", "derby:directory:"])
def test_a_database_in_a_file_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
    written = [identity((f"jdbc:{scheme}{path}", "t")) for path in ("a.db", "./x/../a.db", f"{tmp_path}/a.db", "link.db")]
    assert all(same_source(one, written[0]) for one in written)
    assert not same_source(written[0], identity((f"jdbc:{scheme}b.db", "t")))


def earlier(address: str, *parts: str) -> str:
    """What an earlier version wrote into the ledger."""
    digests = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in (address, *parts)]
    return f"jdbc:{digests[0]}:{'.'.join(digests[1:])}"


@pytest.mark.parametrize(
    ("charged", "now"),
    [
        (earlier("jdbc:postgresql://h/ward", "visits"), ("jdbc:postgresql://H:5432/ward?x=y", "public.visits")),
        (earlier("jdbc:mysql://h/a", "t"), ("jdbc:mysql://h/b", "a.t")),
        (earlier("jdbc:mysql://h/a", "t"), ("jdbc:mariadb://me:pw@h/a", "t")),
        (earlier("jdbc:mysql://h:3307/a", "t", "a"), ("jdbc:mysql://h:3307/b", "a.t")),
        (earlier("jdbc:sqlserver://h/a", "t"), ("jdbc:sqlserver://h;databaseName=b", "a.dbo.t")),
        (earlier("jdbc:oracle:thin:@//h/s", "t"), ("jdbc:oracle:thin:@//h:1521/s", "me.t")),
        (earlier("jdbc:derby:memory:x", "t"), ("jdbc:derby:memory:x;create=true", "T")),
    ],
)
def test_what_an_earlier_version_charged_is_the_same_source(charged: str, now: Table) -> None:
    assert same_source(charged, identity(now))
    assert not same_source(charged, identity((now[0], "another")))


@pytest.mark.parametrize(
    ("first", "then", "covered"),
    [
        ("sqlserver://h1;databaseName=d", "sqlserver://h1;databaseName=d;user=me", True),
        ("sqlserver://h1;databaseName=d", "sqlserver://h1;serverName=h9;databaseName=d", False),
        ("sqlserver://h1;databaseName=d", "sqlserver://h1;failoverPartner=h9;databaseName=d", False),
        ("sqlserver://h1;databaseName=d", "sqlserver://h1;portNumber=1500;databaseName=d", False),
        ("sqlserver://h1;databaseName=d", "sqlserver://h1;databaseName=d;database=e", False),
        ("snowflake://x.com/?db=A", "snowflake://x.com/?db=B", False),
        ("snowflake://x.com/?db=A", "snowflake://x.com/", False),
        ("postgresql://h1,h2/ward", "postgresql://h1,h2/ward?password=x", True),
    ],
)
def test_a_charge_goes_on_with_no_other_server_or_database(first: str, then: str, covered: bool) -> None:
    assert covers_source(identity((f"jdbc:{first}", "t")), identity((f"jdbc:{then}", "t"))) is covered


def test_no_part_of_an_address_and_no_password_is_told() -> None:
    one = identity(("jdbc:postgresql://me:secret@host-4711/ward", "visits"))
    assert one == identity(("jdbc:postgresql://you:other@host-4711/ward?password=x", "visits"))
    oracle = [identity((f"jdbc:oracle:thin:{user}@//h/s", "t")) for user in ("", "scott/tiger", "scott/lion")]
    assert len(set(oracle)) == 1
    for part in ("4711", "ward", "visits", "secret", "postgresql"):
        assert part not in one
