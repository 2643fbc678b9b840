"""Exact decimals: budgets are added up, halved, split and printed without any rounding (invariant 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, Context, Decimal, Inexact, localcontext
from fractions import Fraction

from dp_spark.errors import BudgetError

#: The most digits that a sum may need: budgets that are read now need far fewer, and no version stored more than 400.
_MOST_DIGITS = 450


def decimal_text(value: Decimal) -> str:
    """A decimal as plain text, exact and without an exponent.

    >>> decimal_text(Decimal("1.0E-6"))
    '0.000001'
    """
    text = format(value, "f")  # Decimal.normalize would round to the context's 28 digits
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def sum_exactly(values: Iterable[Decimal]) -> Decimal:
    """The sum of decimals without any rounding; the default context would round to 28 digits.

    Raises:
        BudgetError: If it needs more digits than anybody can mean.

    >>> sum_exactly([Decimal("0.1")] * 10) == 1
    True
    """
    numbers = [value for value in values if value]
    if not numbers:
        return Decimal(0)
    highest = max(value.adjusted() for value in numbers) + len(str(len(numbers)))
    digits = highest - min(int(value.as_tuple().exponent) for value in numbers) + 1
    if digits > _MOST_DIGITS:
        raise BudgetError(
            f"a budget or a charge has more than {_MOST_DIGITS} digits, too many to be added up exactly",
            mend="use another dataset and account",
        )
    with localcontext(Context(prec=max(1, digits), traps=[Inexact])):
        return sum(numbers, Decimal(0)).normalize()


def exact_half(value: Decimal) -> Decimal:
    """Half of a decimal, without any rounding; division would round to 28 digits.

    >>> exact_half(Decimal("0.3")) * 2
    Decimal('0.30')
    """
    return Context(prec=len(value.as_tuple().digits) + 1, traps=[Inexact]).multiply(value, Decimal("0.5"))


def split(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Splits a budget by weight into shares that sum to it exactly; the last digits go to the first share.

    >>> split(Decimal(1), [Decimal(1)] * 3)[1]
    Decimal('0.3333333333333333333333333333')
    >>> sum_exactly(split(Decimal(1), [Decimal(1)] * 3))
    Decimal('1')
    """
    whole = sum((Fraction(weight) for weight in weights), Fraction(0))
    floor = Context(prec=28, rounding=ROUND_FLOOR)
    shares = []
    for weight in weights:
        share = Fraction(total) * Fraction(weight) / whole
        shares.append(floor.divide(Decimal(share.numerator), Decimal(share.denominator)).normalize())
    shares[0] = sum_exactly((total, *(share.copy_negate() for share in shares[1:])))
    return shares
