from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dp_spark.errors import SpecError
from dp_spark.privacy.lattice import (
    LIMB_BITS,
    MAX_LATTICE_VALUE,
    MOST_OF_A_ROW,
    Lattice,
    centred_lattice,
    join,
    split,
    square_lattice,
    sum_lattice,
)

SIZES = st.floats(min_value=1e-200, max_value=1e200) | st.sampled_from([1.0, 0.1, 2.0**22, 500.0, 1e-9, 2.0**53])
NUMBERS = SIZES | SIZES.map(lambda value: -value) | st.just(0.0)


@st.composite
def bounds(draw: st.DrawFn) -> tuple[float, float]:
    one, other = draw(NUMBERS), draw(NUMBERS)
    assume(abs(one - other) > 1e-9 * max(abs(one), abs(other)))  # closer ones make no lattice for a mean
    return min(one, other), max(one, other)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[float, float]:
    """Bounds that are close to each other and far from zero, where a mean's lattice is hardest."""
    low = draw(st.floats(min_value=-1e12, max_value=1e12))
    width = draw(st.floats(min_value=1e-3, max_value=1e3))
    assume(low < low + width and max(abs(low), abs(low + width)) > 1e-6)
    return low, low + width


def inside(low: float, high: float, share: float) -> float:
    return min(max(low + share * (high - low), low), high) if math.isfinite(high - low) else low


@given(bounds(), st.floats(0, 1))
def test_sum_lattice_rounds_to_the_nearest_point_within_the_bounds(limits: tuple[float, float], share: float) -> None:
    lattice = sum_lattice(*limits)
    value = inside(*limits, share)
    found = lattice.to_integer(value)
    unit = Fraction(2) ** lattice.exponent
    assert lattice.lower <= found <= lattice.upper
    assert abs(Fraction(value) - found * unit) <= unit / 2
    assert lattice.to_value(found) == float(found * unit)


@given(bounds() | neighbours(), st.floats(0, 1))
def test_centred_lattice_rounds_to_the_nearest_point_within_the_bounds(limits: tuple[float, float], share: float) -> None:
    lattice = centred_lattice(*limits)
    value = inside(*limits, share)
    found = lattice.to_integer(value)
    unit = Fraction(2) ** lattice.exponent
    assert lattice.lower <= found <= lattice.upper
    assert abs(found - lattice.midpoint) <= lattice.radius <= MAX_LATTICE_VALUE
    assert abs(Fraction(value) - found * unit) <= unit / 2


@given(bounds(), st.floats(allow_nan=False))
def test_every_number_is_clipped_into_the_bounds(limits: tuple[float, float], value: float) -> None:
    for lattice in (sum_lattice(*limits), centred_lattice(*limits)):
        assert lattice.lower <= lattice.to_integer(value) <= lattice.upper
        assert lattice.to_integer(math.inf) == lattice.to_integer(limits[1]) == lattice.upper
        assert lattice.to_integer(-math.inf) == lattice.to_integer(limits[0]) == lattice.lower


@given(bounds())
def test_sum_granularity_is_the_finest_that_fits(limits: tuple[float, float]) -> None:
    lattice = sum_lattice(*limits)
    finer = Lattice(*limits, lattice.exponent - 1)
    assert max(abs(lattice.lower), abs(lattice.upper)) == lattice.magnitude <= MAX_LATTICE_VALUE
    assert max(abs(finer.lower), abs(finer.upper)) > MAX_LATTICE_VALUE
    assert lattice.granularity == 2.0**lattice.exponent


@given(bounds() | neighbours())
def test_centred_granularity_is_the_finest_that_fits(limits: tuple[float, float]) -> None:
    lattice = centred_lattice(*limits)
    finer = Lattice(*limits, lattice.exponent - 1, lattice.centre_bits + 1)
    assert lattice.magnitude <= 2**52
    # A lattice 2^22 times as fine as the first version's is as fine as a whole mean ever needs.
    assert finer.radius > MAX_LATTICE_VALUE or finer.magnitude > 2**52 or lattice.centre_bits == LIMB_BITS
    assert lattice.radius > 2**41 or lattice.magnitude > 2**51


def midpoint_of_the_first_version(low: float, high: float) -> Fraction:
    """Where 0.1.0 centred a mean: the finest lattice with |x - midpoint| <= 2^22, the middle of its ends rounded down."""
    exponent = math.frexp(max(abs(low), abs(high)))[1] - 54
    while True:
        bottom, top = (round(math.ldexp(value, -exponent)) for value in (low, high))
        middle = (bottom + top) // 2
        if max(top - middle, middle - bottom) <= 2**22 and max(abs(bottom), abs(top)) <= 2**52:
            return middle * Fraction(2) ** exponent
        exponent += 1


@given(bounds() | neighbours())
def test_midpoint_is_the_first_versions_and_radius_reaches_both_ends(limits: tuple[float, float]) -> None:
    """A published mean hides its midpoint: combining old and new releases needs it to be a function of the bounds."""
    lattice = centred_lattice(*limits)
    assert isinstance(lattice.midpoint, int)
    assert lattice.midpoint * Fraction(2) ** lattice.exponent == midpoint_of_the_first_version(*limits)
    assert Fraction(lattice.to_value(lattice.midpoint)) == lattice.midpoint * Fraction(2) ** lattice.exponent
    assert abs(2 * lattice.midpoint - lattice.lower - lattice.upper) <= 2 ** (lattice.centre_bits + 1)
    assert lattice.radius == max(abs(x - lattice.midpoint) for x in (lattice.lower, lattice.upper))


def test_radius_of_an_odd_width_is_the_longer_half() -> None:
    lattice = Lattice(0.0, 5.0, 0)
    assert (lattice.lower, lattice.upper, lattice.midpoint, lattice.radius) == (0, 5, 2, 3)


def test_ties_round_to_even_as_sparks_rint_does() -> None:
    lattice = Lattice(0.0, 10.0, 0)
    assert [lattice.to_integer(value) for value in (0.5, 1.5, 2.5, 3.5)] == [0, 2, 2, 4]


def test_to_value_scales_by_the_granularity() -> None:
    assert Lattice(0.0, 500.0, -13).to_value(8192) == 1.0
    assert Lattice(0.0, 2.0**40, 18).to_value(-3) == -3 * 2.0**18


SUMMED = st.integers(-MAX_LATTICE_VALUE, MAX_LATTICE_VALUE) | st.sampled_from(
    [sign * value + step for sign in (-1, 1) for value in (0, 2**22, 2**43) for step in (-1, 0, 1)] + [-(2**44), 2**44]
)


@given(st.lists(SUMMED))
def test_sums_of_limbs_join_to_the_sum(values: list[int]) -> None:
    limbs = [split(value) for value in values]
    assert [join(*pair) for pair in limbs] == values
    assert all(0 <= low < 2**LIMB_BITS and -(2**22) <= high <= 2**22 for high, low in limbs)
    assert join(sum(high for high, _ in limbs), sum(low for _, low in limbs)) == sum(values)


def test_sums_of_two_to_the_forty_limbs_fit_a_bigint() -> None:
    assert max(abs(limb) for value in (-MAX_LATTICE_VALUE, MAX_LATTICE_VALUE, -1) for limb in split(value)) <= 2**22
    assert 2**22 * 2**40 < 2**63


@pytest.mark.parametrize("make", [sum_lattice, centred_lattice])
@pytest.mark.parametrize(
    ("low", "high", "fragment"),
    [
        (math.nan, 1.0, "finite"),
        (0.0, math.nan, "finite"),
        (-math.inf, 1.0, "finite"),
        (0.0, math.inf, "finite"),
        (1.0, 1.0, "below"),
        (2.0, 1.0, "below"),
        (0.0, 1e-300, "out of range"),
        (0.0, 1e300, "out of range"),
        (-1e300, 0.0, "out of range"),
    ],
)
def test_bounds_that_make_no_lattice_are_refused(make: object, low: float, high: float, fragment: str) -> None:
    assert callable(make)
    with pytest.raises(SpecError, match=fragment) as caught:
        make(low, high)
    assert caught.value.mend


def test_bounds_that_a_double_cannot_part_are_refused_for_a_mean() -> None:
    with pytest.raises(SpecError, match="too close"):
        centred_lattice(1.0, math.nextafter(1.0, 2.0))
    assert centred_lattice(1.0, 1.0 + 2.0**-40).radius > 0


@pytest.mark.parametrize("bounds", [(0.0, 100.0), (-7.3, 0.001), (0.05, 0.3), (1e12, 1e12 + 1), (-1e100, 1e100), (0.0, 1e-100)])
def test_squares_fit_in_two_limbs_and_are_centred_where_sums_are(bounds: tuple[float, float]) -> None:
    coarse, fine = square_lattice(*bounds), centred_lattice(*bounds)
    assert coarse.radius**2 <= MAX_LATTICE_VALUE
    assert coarse.to_value(coarse.midpoint) == fine.to_value(fine.midpoint)
    assert 0 < coarse.granularity**2 < math.inf


@given(bounds() | neighbours())
def test_what_a_units_rows_come_to_has_a_lattice_of_its_own(limits: tuple[float, float]) -> None:
    """Rows of many times the bounds, of both signs, are still counted in full; the middle is where a variance has it."""
    total = sum_lattice(*limits, per_unit=True)
    assert 2**31 < total.magnitude <= 2**32
    assert total.to_row(1000 * max(map(abs, limits))) < MOST_OF_A_ROW
    share = (Fraction(limits[1]) - Fraction(limits[0])) / Fraction(max(map(abs, limits)))
    assume(not 2.0**-33 < share < 2.0**-28)
    if share <= 2.0**-33:
        with pytest.raises(SpecError, match="derive the distance"):
            centred_lattice(*limits, per_unit=True)
        return
    centred = centred_lattice(*limits, per_unit=True)
    assert 2**10 <= centred.radius <= 2**32
    assert centred.magnitude <= MOST_OF_A_ROW
    if max(map(abs, limits)) < 2.0**400 and max(map(abs, limits)) > 2.0**-400:
        coarse = square_lattice(*limits, per_unit=True)
        assert coarse.radius <= 2**22
        assert coarse.to_value(coarse.midpoint) == centred.to_value(centred.midpoint)


@pytest.mark.parametrize("exponent", [-932, -52, -13, 0, 1, 40, 868])
def test_a_row_is_rounded_half_to_even_and_counts_no_more_than_so_much(exponent: int) -> None:
    lattice, unit = Lattice(-math.ldexp(1.0, exponent), math.ldexp(3.0, exponent), exponent), Fraction(2) ** exponent
    for steps in (0.0, -0.0, 0.5, 1.5, 2.5, -0.5, 7.25, 2.0**41 + 0.5, 2.0**42, 2.0**42 + 1):
        for sign in (1, -1):
            value = math.ldexp(sign * steps, exponent)
            assert lattice.to_row(value) == max(-(2**42), min(round(Fraction(value) / unit), 2**42))
    assert (lattice.to_row(math.inf), lattice.to_row(-math.inf), lattice.to_row(5e-324)) == (2**42, -(2**42), 0)
    assert [lattice.clip(integer) for integer in (-2, -1, 0, 3, 4)] == [-1, -1, 0, 3, 3]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((0.0, 1e200), "the clipping bounds are out of range"),
        ((0.0, 1e-200), "the clipping bounds are out of range"),
        ((1.0, 1.0), "min_value must be below max_value"),
        ((0.0, math.inf), "must be finite numbers"),
    ],
)
def test_bounds_whose_squares_are_no_doubles_are_refused(bounds: tuple[float, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        square_lattice(*bounds)
