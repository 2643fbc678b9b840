"""Basic composition: epsilons add up, and deltas do (Dwork and Roth 2014, theorem 3.16)."""

from __future__ import annotations

from decimal import Decimal

from dp_spark.privacy.accountants.base import Accountant, Budget, Cost
from dp_spark.privacy.decimals import decimal_text


class Basic(Accountant):
    """An account of epsilon and delta; it works with delta = 0."""

    name = "basic"
    currency = "epsilon"
    mechanisms = ("laplace",)
    adds_up = "This account adds up the epsilons, and the deltas, of its releases."
    spends_delta = False

    def freeze(self, epsilon: Decimal, delta: Decimal) -> None:
        """Nothing: epsilon itself is spent."""

    def total(self, budget: Budget) -> Cost:
        """The epsilon and the delta that were opened."""
        return Cost(self.currency, budget.epsilon, budget.delta)

    def delta_for(self, selection: Decimal) -> Decimal:
        """The same: all of delta is selection's."""
        return selection

    def as_epsilon(self, budget: Budget, cost: Cost, *, up: bool) -> tuple[Decimal, Decimal]:
        """The cost as it is."""
        return cost.amount, cost.delta

    def describe(self, cost: Cost) -> str:
        """See ``Accountant.describe``.

        >>> Basic().describe(Cost("epsilon", Decimal("0.5"), Decimal("1e-6")))
        'epsilon 0.5, delta 0.000001'
        """
        return f"epsilon {decimal_text(cost.amount)}, delta {decimal_text(cost.delta)}"
