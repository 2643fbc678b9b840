"""What a release would draw, cost and leave, without touching any private table: ``dp-spark plan``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession

from dp_spark.engine import preprocess
from dp_spark.engine.public_tables import collect_public
from dp_spark.engine.source_identity import source_identity
from dp_spark.ledger.accounts import AccountState
from dp_spark.ledger.on_delta import ledger_at
from dp_spark.ledger.state import LedgerState
from dp_spark.places.paths import is_local
from dp_spark.plan.planning import ReleasePlan, plan_release
from dp_spark.privacy.accountants.account import Account
from dp_spark.release.apart import check_public_sources
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.file_places import check_places
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables import delta as tables
from dp_spark.tables.refs import TableRef, has_local_log


@dataclass(frozen=True)
class Preview:
    """A plan, and the account that would pay for it.

    Attributes:
        plan: What would be drawn and charged.
        account: The dataset's account, or None where none was opened yet.
        has_ledger: Whether there is a ledger at all where the file says.
    """

    plan: ReleasePlan
    account: AccountState | None
    has_ledger: bool = True


def preview_release(spec: ReleaseSpec, get_spark: Callable[[], SparkSession]) -> Preview:
    """Plans a release; reads the ledger and a table of public keys where there are any, and nothing else.

    Args:
        spec: The release file.
        get_spark: Called only where a table has to be read.

    Raises:
        SpecError, SourceError, DamageError: As ``run_release`` would.
    """
    preprocess.check_steps(spec)
    expanded = spec.expand()
    check_file(expanded)
    check_places(expanded)
    state = _ledger_state(expanded, get_spark)
    account = None if state is None else state.accounts.get(spec.dataset)
    if spec.public_partitions is not None and spec.public_partitions.source is not None:
        spark = get_spark()
        charged = [] if state is None else state.charged_sources
        check_public_sources(spark, expanded, [source_identity(spark, expanded.source), *charged])
    keys = _public_keys(expanded, get_spark)
    assumed = Account.open(spec.budget.epsilon, spec.budget.delta).accountant
    accountant = account.account.accountant if account is not None else assumed
    return Preview(plan_release(expanded, accountant, keys), account, has_ledger=state is not None)


def _ledger_state(spec: ReleaseSpec, get_spark: Callable[[], SparkSession]) -> LedgerState | None:
    ref = TableRef.of(spec.ledger)
    if ref.path is not None and is_local(ref.path) and not has_local_log(ref.path):
        return None
    spark = get_spark()
    if not tables.exists(spark, ref):
        return None
    return ledger_at(spark, ref).state()


def _public_keys(spec: ReleaseSpec, get_spark: Callable[[], SparkSession]) -> int | None:
    public = spec.public_partitions
    if public is None:
        return None
    if public.values is not None:
        return math.prod(len(values) for values in public.values.values())
    assert public.source is not None
    types = dict.fromkeys(spec.group_by, "string")  # only their number matters here
    return int(collect_public(get_spark(), public.source, where="partitions.public.source", types=types).count())
