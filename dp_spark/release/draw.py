"""One draw of a release: read, bound, aggregate, noise. The only place where exact aggregates exist."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from dp_spark.aggregates.query import Bins, Query
from dp_spark.engine import aggregation
from dp_spark.engine.bounding import Salt, bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.errors import DpSparkError, SourceError
from dp_spark.ledger.entries import Charge, Written
from dp_spark.ledger.outbox import Draw
from dp_spark.plan.cells import release_table
from dp_spark.plan.manifest_building import build_manifest
from dp_spark.plan.planning import ReleasePlan
from dp_spark.privacy.accountants.account import pays_for
from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import Exact, Noisy
from dp_spark.privacy.tree_drawing import draw_tree
from dp_spark.privacy.trees import LeafCounts, NoisyTree, Places
from dp_spark.release.prepare import Checked
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.read_failures import reading_failed
from dp_spark.spark.settings import BUCKETING, settings

_MAY_CORRECT = (
    "how the source is parsed may be corrected in the file under the same release id: mode, sep, quote, escape, encoding, "
    "dateFormat, timestampFormat, timestampNTZFormat, nullValue, and types in schema"
)


def draw_quietly(spark: SparkSession, checked: Checked, charge: Written[Charge], on_stage: Callable[[str], None]) -> Draw:
    """Reads, bounds, aggregates and adds noise; its failures say nothing, as a library's message could quote an exact value.

    Args:
        spark: The session.
        checked: What to draw.
        charge: The charge that pays for it.
        on_stage: Called with the name of each stage as it begins.

    Raises:
        SourceError: If the source cannot be read. DpSparkError: if anything else fails.

    Guarantees: what is returned is noised, under noise that the charge paid for; nothing exact is kept, logged or quoted.
    """
    failure: DpSparkError
    try:
        return _draw(spark, checked, charge, on_stage)
    except DpSparkError as error:
        failure = error
        if isinstance(error, SourceError) and checked.unparsed is not None:
            error.mend += f"; {_MAY_CORRECT}"
    except (*SPARK_ERRORS, MemoryError) as error:
        failure = reading_failed(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
        failure = DpSparkError(
            f"computing the release failed unexpectedly ({type(error).__name__})",
            where="read, aggregate and noise",
            mend="run the same command again with this release id; report it if it stays",
        )
    # Behind the handlers, and bare: a trace and a context hold the frames in which exact values are.
    failure.__cause__ = failure.__context__ = None
    raise failure.with_traceback(None)


def _draw(spark: SparkSession, checked: Checked, charge: Written[Charge], on_stage: Callable[[str], None]) -> Draw:
    plan, spec = checked.plan, checked.spec
    on_stage("read and aggregate")
    queries = list(plan.queries)
    public = checked.keys.frame(spark) if checked.keys is not None else None
    rows = prepare_rows(checked.frame, spec.unit_columns, spec.group_by, queries, public, clustered=checked.clustered)
    bounded = bound_contributions(rows, plan.bounds, Salt.fresh())
    frame = aggregation.aggregate(bounded, queries)
    if plan.selection is not None:
        frame = aggregation.with_at_least(frame, bounded, queries, plan.selected_by, plan.selection.pre_threshold)
    with settings(spark, {BUCKETING: "true"} if checked.clustered else {}):
        exact = aggregation.collect(frame, bounded, queries)
    if checked.keys is not None:
        exact = aggregation.fill_public(exact, checked.keys)
    on_stage("noise")
    keys, noisy, drawn = _add_noise(plan, exact.in_canonical_order())
    keys = keys.rename_columns(list(spec.group_by))
    if not pays_for(charge.entry.events, drawn):
        raise DpSparkError(
            "what was drawn is not what was charged; nothing is published", mend="report this as a bug", final=True
        )
    manifest = build_manifest(
        plan,
        release_id=charge.entry.release_id,
        file_digest=checked.digest,
        charge={
            "sequence": charge.sequence,
            "at": charge.at.date().isoformat(),  # no time of day: with the commit's it would tell how long computing took
            "ledger": checked.state.rows[0].digest,
        },
        key_types={key.name: key.dataType.simpleString() for key in from_arrow_schema(keys.schema, prefer_timestamp_ntz=True)},
    )
    return Draw(release_table(plan, keys, noisy), manifest)


def _add_noise(
    plan: ReleasePlan, exact: aggregation.ExactAggregates
) -> tuple[pa.Table, dict[Query, Noisy | NoisyTree], list[Event]]:
    """Selects partitions, then draws noise once for each query; returns the keys shown, the noisy values, the events."""
    keys, values = exact.keys, dict(exact.values)
    noisy: dict[Query, Noisy | NoisyTree] = {}
    drawn: list[Event] = []
    if plan.selection is not None:
        candidates = values[plan.selected_by]
        assert not isinstance(candidates, LeafCounts), "partitions are selected by a number for each"
        positions, counts, event = plan.selection.draw(candidates)
        drawn.append(event)
        keys = keys.take(pa.array(positions, pa.int64()))
        values = {query: integers[positions] for query, integers in values.items()}
        if counts is not None:
            noisy[plan.selected_by] = counts
    for query in plan.mechanisms:
        if query not in noisy:
            noisy[query], event = draw_query(plan, query, values[query])
            drawn.append(event)
    return keys, noisy, drawn


def draw_query(plan: ReleasePlan, query: Query, exact: Exact | LeafCounts) -> tuple[Noisy | NoisyTree, Event]:
    """Draws noise for all integers of a query, or for the nodes of its trees that the release looks at: each once.

    Args:
        plan: The release.
        query: One of its queries.
        exact: Its exact integers, or of bins their counts.
    """
    mechanism = plan.mechanisms[query]
    if not isinstance(exact, LeafCounts):
        return mechanism.draw(exact)
    assert isinstance(query.measure, Bins)

    def draw(counts: Places) -> Noisy:
        return mechanism.draw(counts.astype(object))[0]

    return draw_tree(query.measure.shape, exact, draw, plan.aims(query), mechanism.stddev**2), mechanism.event
