"""What every accountant is: events have a price in its currency, prices add up exactly, and an account bears a total or not.

An accountant holds nothing. What was opened is a ``Budget``, whose parts are frozen at opening and stored in the ledger; no
budget is ever decided by "whichever accountant is smaller today", which would be no proof.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal, Protocol

from dp_spark.errors import BudgetError
from dp_spark.privacy.decimals import decimal_text, sum_exactly
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms.registry import MechanismName

Currency = Literal["epsilon", "rho"]


@dataclass(frozen=True)
class Cost:
    """What a release or a whole account has spent, or may spend.

    Attributes:
        currency: What the accountant adds up.
        amount: How much of it.
        delta: The deltas of partition selection, which add up beside it.
    """

    currency: Currency
    amount: Decimal
    delta: Decimal

    def plus(self, other: Cost) -> Cost:
        """The exact sum of two costs in one currency."""
        return self._with(other.amount, other.delta, other.currency)

    def minus(self, other: Cost) -> Cost:
        """What is left of this cost, exactly, when another one is taken from it."""
        # Unary minus would round to the default context's 28 digits.
        return self._with(other.amount.copy_negate(), other.delta.copy_negate(), other.currency)

    def within(self, total: Cost) -> bool:
        """Whether this cost is no more than another one in the same currency; exact."""
        return self.currency == total.currency and self.amount <= total.amount and self.delta <= total.delta

    def _with(self, amount: Decimal, delta: Decimal, currency: Currency) -> Cost:
        if self.currency != currency:  # no assert: without it a rho would be counted as an epsilon
            raise BudgetError("costs of two currencies do not add up", mend="report this as a bug")
        return Cost(currency, sum_exactly((self.amount, amount)), sum_exactly((self.delta, delta)))


class Budget(Protocol):
    """What an account was opened with, as the ledger has it."""

    @property
    def epsilon(self) -> Decimal:
        """The total epsilon."""

    @property
    def delta(self) -> Decimal:
        """The total delta."""

    @property
    def rho(self) -> Decimal | None:
        """The rho that they bought at opening; None where the accountant freezes none."""


class Accountant(ABC):
    """How the charges of a dataset add up."""

    #: The name in release files, ledgers and manifests.
    name: ClassVar[str]
    #: What it adds up, beside delta.
    currency: ClassVar[Currency]
    #: The mechanisms that have a price in it; the first is drawn where the release file leaves the choice.
    mechanisms: ClassVar[tuple[MechanismName, ...]]
    #: What a report tells people of how charges add up.
    adds_up: ClassVar[str]
    #: Whether every release spends a delta, not only one that selects partitions.
    spends_delta: ClassVar[bool]

    @abstractmethod
    def freeze(self, epsilon: Decimal, delta: Decimal) -> Decimal | None:
        """The rho that an account is opened with; None where the accountant needs none.

        Raises:
            SpecError: If no account can be opened with this epsilon and delta.
        """

    @abstractmethod
    def total(self, budget: Budget) -> Cost:
        """All that an account may spend."""

    @abstractmethod
    def delta_for(self, selection: Decimal) -> Decimal:
        """The delta that a release has to ask for, so that so much of it can pay for partition selection."""

    def price(self, event: Event) -> Cost:
        """What one draw is charged.

        Raises:
            BudgetError: If it has no price in this currency.
        """
        amount = event.epsilon if self.currency == "epsilon" else event.rho
        if amount is None:
            raise BudgetError(
                f"a {self.name} account cannot add up this mechanism", mend="use laplace noise, or a zcdp account"
            )
        return Cost(self.currency, amount, event.delta)

    def cost(self, events: Iterable[Event]) -> Cost:
        """The exact sum of what draws are charged; nothing for no draws.

        Raises:
            BudgetError: If one has no price in this currency.
        """
        prices = [self.price(event) for event in events]
        amount, delta = sum_exactly(price.amount for price in prices), sum_exactly(price.delta for price in prices)
        return Cost(self.currency, amount, delta)

    def bears(self, budget: Budget, spent: Cost) -> bool:
        """Whether an account may have spent so much in all; exact."""
        return spent.within(self.total(budget))

    @abstractmethod
    def as_epsilon(self, budget: Budget, cost: Cost, *, up: bool) -> tuple[Decimal, Decimal]:
        """A part of an account's total as (epsilon, delta), for people.

        Args:
            budget: What the account was opened with.
            cost: What was spent of it, or what is left of it.
            up: Whether epsilon is rounded up, as for what was spent, or down, as for what is left.
        """

    @abstractmethod
    def describe(self, cost: Cost) -> str:
        """A cost in words, for a refusal."""

    def describe_left(self, budget: Budget, spent: Cost) -> str:
        """What is left of an account in words, for a refusal."""
        epsilon, delta = self.as_epsilon(budget, self.total(budget).minus(spent), up=False)
        return f"epsilon {decimal_text(epsilon)}, delta {decimal_text(delta)}"
