"""What epsilon and delta mean to somebody with a suspicion: how far a release can move it.

For neighbours D and D' and a release M, a pure guarantee says P[M(D) = x] <= e^epsilon P[M(D') = x] for every x. By Bayes'
rule the odds of "the unit is in the data" after seeing x are at most e^epsilon times, and at least e^-epsilon times, the
odds before. With a delta, the pair (M(D), M(D')) can be simulated from a procedure that reveals everything with
probability delta and otherwise keeps to that factor (Kairouz, Oh and Viswanath 2015, "The Composition Theorem for
Differential Privacy"): a release tells no more than if, with a chance of delta, everything were told. That is not the
probability of a table for which the odds pass the limit: under Gaussian noise that can be a few times delta.

Two versions of a unit's rows are two steps apart (remove one, add the other): the factor is e^(2 epsilon), and the chance
at most (1 + e^epsilon) delta (Dwork and Roth 2014, theorem 2.2 and its proof for delta above 0).
"""

from __future__ import annotations

import math
from fractions import Fraction

#: The suspicions that a reader is shown.
PRIORS = (0.01, 0.1, 0.5)
_LARGEST_EXPONENT = 700.0  # e to the power of more is no double


def posteriors(prior: float, epsilon: float) -> tuple[float, float]:
    """The least and the largest probability that a suspicion can have after a release, if not for delta.

    Args:
        prior: The probability before, above 0 and below 1.
        epsilon: The privacy parameter between the two possibilities.

    >>> low, high = posteriors(0.5, 1.0)
    >>> round(low, 4), round(high, 4)
    (0.2689, 0.7311)
    """
    against, shrunk = (1 - prior) / prior, math.exp(-epsilon)
    return shrunk / (shrunk + against), 1 / (1 + against * shrunk)


def factor(epsilon: float) -> float:
    """e^epsilon: what the odds change by at most; infinity where no double holds it."""
    return math.exp(epsilon) if epsilon < _LARGEST_EXPONENT else math.inf


def delta_for_contents(epsilon: float, delta: float) -> float:
    """The delta between two versions of a unit's rows, at most."""
    return min(1.0, (1 + factor(epsilon)) * delta) if delta else 0.0


def percent_up(probability: float) -> str:
    """A probability as a percentage that is never below it.

    >>> percent_up(0.731059), percent_up(0.02672), percent_up(0.99996)
    ('73.2 %', '2.7 %', 'over 99.9 %')
    """
    tenths = math.ceil(Fraction(probability) * 1000)
    return "over 99.9 %" if tenths > 999 else f"{tenths / 10:.1f} %"


def percent_down(probability: float) -> str:
    """A probability as a percentage that is never above it.

    >>> percent_down(0.268941), percent_down(0.003702), percent_down(0.0004)
    ('26.8 %', '0.3 %', 'under 0.1 %')
    """
    tenths = math.floor(Fraction(probability) * 1000)
    return "under 0.1 %" if tenths < 1 else f"{tenths / 10:.1f} %"


def one_in(probability: float) -> str:
    """A small probability as one in so many, never below it.

    >>> one_in(1e-6), one_in(3.7e-6)
    ('1 in 1,000,000', '1 in 270,270')
    """
    return f"1 in {math.floor(1 / probability * (1 + 1e-12)):,}"
