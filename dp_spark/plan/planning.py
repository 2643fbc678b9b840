"""From a release file to what will be drawn and charged, before any private value is read.

The plan is a pure function of the file, the account's accountant and the number of public keys, so ``dp-spark plan``
shows exactly what ``dp-spark run`` charges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.given import Accuracy, Noise
from dp_spark.aggregates.query import PRIVACY_ID_COUNT, Bins, Query
from dp_spark.errors import SpecError
from dp_spark.noise_width import stddevs_for
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Accountant, Cost
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName, cost_of
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.decimals import split
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.registry import MECHANISMS, MechanismName, calibrate
from dp_spark.privacy.noise_grid import grid_bits
from dp_spark.privacy.ranks import Aims
from dp_spark.privacy.selection.base import Selection
from dp_spark.privacy.selection.registry import SELECTIONS, SelectionName
from dp_spark.spec.partitions import PrivatePartitions
from dp_spark.spec.release_spec import ReleaseSpec

#: The queries that partitions may be selected by, by label: never a count of rows, of which a unit can have many.
SELECTION_QUERIES = {query.label: query for query in (PRIVACY_ID_COUNT,)}
#: Keys and sets of bins together: Spark numbers what it groups by with the bits of one BIGINT.
_MOST_GROUPED = 60


@dataclass(frozen=True)
class ReleasePlan:
    """What a release draws and what it is charged.

    Attributes:
        spec: The release file.
        accountant: The accountant of the account that pays.
        bounds: The contribution bounds that the mechanisms are calibrated to.
        mechanisms: The mechanism of each distinct query that is released; the query that partitions are selected by is among
            them where selection releases its answers.
        selection: Private partition selection, or None.
        guarantee_epsilon: The release is (guarantee_epsilon, guarantee_delta)-DP on its own.
        guarantee_delta: See guarantee_epsilon.
    """

    spec: ReleaseSpec
    accountant: AccountantName
    bounds: ContributionBounds
    mechanisms: Mapping[Query, Mechanism]
    selection: Selection | None
    guarantee_epsilon: Decimal
    guarantee_delta: Decimal

    @property
    def events(self) -> tuple[Event, ...]:
        """Every draw of the release, each once."""
        if self.selection is None:
            return tuple(mechanism.event for mechanism in self.mechanisms.values())
        drawn = {self.selected_by} if self.selection.releases_counts else set()
        return (self.selection.noise.event, *[item.event for query, item in self.mechanisms.items() if query not in drawn])

    @property
    def selected_by(self) -> Query:
        """The query that partitions are selected by, where they are."""
        assert self.selection is not None
        return SELECTION_QUERIES[self.selection.query]

    @property
    def queries(self) -> tuple[Query, ...]:
        """Every query that needs an exact answer, each once; the one that partitions are selected by is first."""
        selecting = () if self.selection is None else (self.selected_by,)
        return tuple(dict.fromkeys((*selecting, *self.mechanisms)))

    @property
    def cost(self) -> Cost:
        """The exact cost, as the ledger adds it up."""
        return cost_of(self.events, self.accountant)

    def granularity(self, query: Query) -> float:
        """The step of the grid that a query's noise is drawn on, in the column's own unit; 1 for a count."""
        return math.ldexp(query.granularity, self.mechanisms[query].grid_bits)

    def noise_of(self, query: Query) -> Noise:
        """A query's noise, in the column's own unit."""
        mechanism, unit = self.mechanisms[query], self.granularity(query)
        return Noise(mechanism.name, mechanism.scale, unit, mechanism.stddev * unit, mechanism.half_width * unit)

    def aims(self, query: Query) -> Aims | None:
        """What the release searches for in a tree; None where it reads all of its nodes."""
        shares = [item.searched for item in self.spec.aggregates if query in item.queries()]
        if None in shares:
            return None
        every = dict.fromkeys(share for found in shares for share in found or ())
        return Aims(tuple(every), stddevs_for(self.mechanisms[query].name))

    @property
    def published_numbers(self) -> int:
        """How many keys and numbers a published row has, at most."""
        return len(self.spec.group_by) + sum(item.elements for item in self.spec.aggregates)

    @property
    def tree_nodes(self) -> int:
        """How many nodes of noisy trees the driver holds for each row besides: all, or the first level of those it searches."""
        trees = [
            (query, query.measure.shape)
            for query in self.mechanisms
            if isinstance(query.measure, Bins) and query.measure.shape.levels > 1
        ]
        return sum(query.width if self.aims(query) is None else shape.branches + 2 for query, shape in trees)

    @property
    def bins(self) -> int:
        """How many bins of a row can have a value, with those outside: the driver holds a count of each that has one."""
        return sum(query.measure.shape.leaves + 2 for query in self.mechanisms if isinstance(query.measure, Bins))

    def noises_of(self, aggregate: Aggregate) -> list[Noise]:
        """The noise of an aggregate's queries, in their order."""
        return [self.noise_of(query) for query in aggregate.queries()]

    def accuracy(self, aggregate: Aggregate) -> Accuracy:
        """How wrong the aggregate's cells may be."""
        return aggregate.accuracy(self.noises_of(aggregate))


def weighted_queries(aggregates: Sequence[Aggregate], *, selection: tuple[Query, Decimal] | None) -> dict[Query, Decimal]:
    """The distinct queries of a release with their weights; a query that several aggregates need has the largest.

    Args:
        aggregates: The aggregates of the release.
        selection: The query that partitions are selected by, and its weight, where its answers are released with the
            selection: a requested privacy_id_count is the same draw. Else None.
    """
    weights: dict[Query, Decimal] = {} if selection is None else dict([selection])
    for aggregate in aggregates:
        for query in aggregate.queries():
            weights[query] = max(weights.get(query, Decimal(0)), aggregate.weight)
    return weights


def effective_bounds(spec: ReleaseSpec, public_keys: int | None) -> ContributionBounds:
    """The contribution bounds in force (design, section 4).

    Args:
        spec: The release file.
        public_keys: The number of public partition keys; None where there are none.

    Guarantees: k is min(L0, number of public keys), 1 for an empty group_by; k = m = 1 for row units; a k or m that is not
    given counts as c.
    """
    if not spec.unit_columns:
        return ContributionBounds(1, 1)
    given = spec.contribution_bounds
    c = given.max_contributions
    k = given.max_partitions_contributed if spec.group_by else 1
    if public_keys is not None:
        k = min(public_keys, *(bound for bound in (k, c) if bound is not None))
    return ContributionBounds.of(k, given.max_contributions_per_partition, c)


def plan_release(spec: ReleaseSpec, accountant: AccountantName, public_keys: int | None) -> ReleasePlan:
    """Splits the budget over the queries and calibrates a mechanism for each.

    Args:
        spec: The release file.
        accountant: The accountant of the account that pays.
        public_keys: The number of public partition keys; None where there are none.

    Raises:
        SpecError: If the account's accountant cannot pay for what the file asks, or no threshold has so small a delta.
    """
    spec = _with_shared_draws(spec)
    name = _mechanism_name(spec, ACCOUNTANTS[accountant])
    private = spec.private_partitions
    if private is not None:
        _check_strategy(private, ACCOUNTANTS[accountant])
    bounds = effective_bounds(spec, public_keys)
    selecting, weights = _weights(spec)
    _check_bins(spec, weights)
    budget = spec.budget
    total = Account.open(budget.epsilon, budget.delta, accountant).total  # a release splits its budget as an account does
    draws = [*selecting, *weights.items()]
    shares = split(total.amount, [weight for _, weight in draws])
    noises = [_mechanism(name, query, bounds, {total.currency: share}) for (query, _), share in zip(draws, shares, strict=True)]
    mechanisms = dict(zip(weights, noises[len(selecting) :], strict=True))
    selection = None
    if private is not None:
        selection = _selection(private, noises[0], total.delta, ACCOUNTANTS[accountant])
        if selection.releases_counts:
            mechanisms[SELECTION_QUERIES[selection.query]] = selection.noise
    used_delta = budget.delta if ACCOUNTANTS[accountant].spends_delta or selection is not None else Decimal(0)
    return ReleasePlan(spec, accountant, bounds, mechanisms, selection, budget.epsilon, used_delta)


def _check_strategy(private: PrivatePartitions, accountant: Accountant) -> None:
    def payable(name: SelectionName, kind: Accountant) -> bool:
        return kind.currency in SELECTIONS[name].currencies

    if not payable(private.strategy, accountant):
        known = [name for name in SELECTIONS if payable(name, accountant)]
        others = [name for name, kind in ACCOUNTANTS.items() if payable(private.strategy, kind)]
        raise SpecError(
            f"a {accountant.name} account cannot pay for {private.strategy}",
            where="partitions.private.strategy",
            mend=f"use {' or '.join(known)}, or open a {' or '.join(others)} account",
        )


def _check_bins(spec: ReleaseSpec, queries: Iterable[Query]) -> None:
    """Checks that Spark can group by the keys and all sets of bins at once: it has a column for each."""
    sets = len({query.measure for query in queries if isinstance(query.measure, Bins)})
    if sets and sets + max(1, len(spec.group_by)) > _MOST_GROUPED:
        raise SpecError(
            f"{sets} different sets of bins beside {len(spec.group_by)} keys are more than one release can count",
            where="aggregates",
            mend=f"ask for at most {max(0, _MOST_GROUPED - max(1, len(spec.group_by)))} of them in one release",
        )


def _with_shared_draws(spec: ReleaseSpec) -> ReleaseSpec:
    """The same release, in which an aggregate whose integers another query has reads that one."""
    labels = {query.label for item in spec.aggregates for query in item.queries()}
    return spec.model_copy(update={"aggregates": tuple(item.served_by(labels) for item in spec.aggregates)})


def _selection(private: PrivatePartitions, noise: Mechanism, delta: Decimal, accountant: Accountant) -> Selection:
    """Private partition selection, paid with the delta that an account of this kind has for it."""
    strategy = SELECTIONS[private.strategy]
    least = strategy.least_delta(noise)
    if delta < least:
        raise SpecError(
            f"is too small for private partitions where a unit may have {noise.sensitivity.l0} of them",
            where="budget.delta",
            mend=f"give a delta of {accountant.delta_for(least):e} or more, or list public partitions",
        )
    return strategy.calibrate(noise, delta, private.pre_threshold or 1)


def _mechanism(name: MechanismName, query: Query, bounds: ContributionBounds, charge: Mapping[str, Decimal]) -> Mechanism:
    exact, bits = bounds.sensitivity(query), 0
    if query.on_grid:
        bits = grid_bits(exact, query.change, norm=MECHANISMS[name].norm, **charge)
    return calibrate(name, query.label, exact, grid_bits=bits, **charge)


def _weights(spec: ReleaseSpec) -> tuple[list[tuple[Query, Decimal]], dict[Query, Decimal]]:
    """The weight of a draw that only selects, if there is one, and those of the released queries; what selects is first."""
    private = spec.private_partitions
    if private is None:
        return [], weighted_queries(spec.aggregates, selection=None)
    strategy = SELECTIONS[private.strategy]
    selecting = (SELECTION_QUERIES[strategy.query], private.weight)
    if strategy.releases_counts:
        return [], weighted_queries(spec.aggregates, selection=selecting)
    return [selecting], weighted_queries(spec.aggregates, selection=None)


def _mechanism_name(spec: ReleaseSpec, accountant: Accountant) -> MechanismName:
    asked = spec.noise.mechanism
    if asked != "auto" and asked not in accountant.mechanisms:
        known = " and ".join(accountant.mechanisms)
        others = [name for name, other in ACCOUNTANTS.items() if asked in other.mechanisms]
        raise SpecError(
            f"a {accountant.name} account pays for {known} noise only",
            where="noise.mechanism",
            mend=f"use {known} or auto, or open a {' or '.join(others)} account",
        )
    if accountant.spends_delta and spec.budget.delta == 0:
        raise SpecError(
            f"a {accountant.name} account needs a delta above 0 in every release",
            where="budget.delta",
            mend="give a delta, or open a basic account",
        )
    return accountant.mechanisms[0] if asked == "auto" else asked
