"""Zero-concentrated differential privacy: rhos add up (Bun and Steinke 2016, lemma 2.3), and so do the deltas of selection.

Half of an account's delta is frozen at opening for the conversion of rho to (epsilon, delta); the other half is for partition
selection.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from dp_spark.errors import SpecError
from dp_spark.privacy.accountants.base import Accountant, Budget, Cost
from dp_spark.privacy.accountants.conversion import zcdp_from_budget, zcdp_to_epsilon
from dp_spark.privacy.decimals import exact_half, sum_exactly


class Zcdp(Accountant):
    """An account of rho, and of half of delta."""

    name = "zcdp"
    currency = "rho"
    mechanisms = ("gaussian", "laplace")
    adds_up = (
        "This account adds up rho (zero-concentrated differential privacy) and translates the sum into epsilon. That is why "
        "the epsilons of releases do not simply add up, and why spent and left together are not the total."
    )
    spends_delta = True

    def freeze(self, epsilon: Decimal, delta: Decimal) -> Decimal:
        """The rho that epsilon and half of delta buy.

        Raises:
            SpecError: If there is no delta, or they buy less than can be told from nothing.
        """
        if delta == 0:
            raise SpecError("a zcdp account needs a delta above 0", where="--delta", mend="give --delta, or basic")
        return zcdp_from_budget(epsilon, delta)

    def total(self, budget: Budget) -> Cost:
        """The rho that was bought at opening, and half of delta."""
        assert budget.rho is not None, "a zcdp account is opened with a rho"
        return Cost(self.currency, budget.rho, exact_half(budget.delta))

    def delta_for(self, selection: Decimal) -> Decimal:
        """Twice as much: the other half is the conversion's."""
        return sum_exactly((selection, selection))

    def as_epsilon(self, budget: Budget, cost: Cost, *, up: bool) -> tuple[Decimal, Decimal]:
        """The epsilon of so much rho at half of the account's delta, and the delta that pays for as much selection."""
        delta = sum_exactly((cost.delta, cost.delta))
        if cost.amount == budget.rho:  # the conversion rounds up a little; opening rounded down
            return budget.epsilon, delta
        converted = Decimal(repr(zcdp_to_epsilon(cost.amount, budget.delta / 2)))
        rounded = Context(prec=6, rounding=ROUND_CEILING if up else ROUND_FLOOR).create_decimal(converted)
        return min(budget.epsilon, rounded), delta

    def describe(self, cost: Cost) -> str:
        """See ``Accountant.describe``.

        >>> Zcdp().describe(Cost("rho", Decimal("0.0229368811"), Decimal("5e-7")))
        'rho 0.0229369, selection delta 5e-7'
        """
        return f"rho {cost.amount:.6g}, selection delta {cost.delta:.6g}"

    def describe_left(self, budget: Budget, spent: Cost) -> str:
        """The rho and the delta that are left, and the epsilon and delta that they are."""
        assert budget.rho is not None, "a zcdp account is opened with a rho"
        pair, delta = super().describe_left(budget, spent), self.total(budget).minus(spent).delta
        return f"rho {budget.rho - spent.amount:.6g}, selection delta {float(delta):.6g}, that is {pair}"
