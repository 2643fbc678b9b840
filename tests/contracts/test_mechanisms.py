"""What every mechanism of the registry must keep: the privacy map covers the charge, the noise is the one that is stated."""

from __future__ import annotations

import itertools
import math
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from charges import CHARGED, CHARGES, NAMES, ONE, SENSITIVITIES, mechanism
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.errors import DpSparkError
from dp_spark.noise_width import WIDTHS, error_width
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.mechanisms import drawing, measurements
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.registry import MECHANISMS, MechanismName, calibrate


def vector(*rows: list[Any]) -> npt.NDArray[np.object_]:
    return np.array(rows, dtype=object)


def test_the_registry_names_every_mechanism_as_itself() -> None:
    assert {name: kind.name for name, kind in MECHANISMS.items()} == {name: name for name in NAMES}
    assert {name for name, _ in CHARGED} == set(NAMES), "a mechanism is missing in tests/support/charges.py"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_a_recipient_without_libraries_is_told_an_interval_that_holds(name: MechanismName, level: float) -> None:
    assert set(WIDTHS) == set(MECHANISMS), "a mechanism is missing in dp_spark/manifest.py"
    for scale in (0.05, 0.4, 1.0, 3.3, 40.0):
        error = {"rule": "constant", "mechanism": name, "noise_scale": scale, "granularity": 0.5}
        width = error_width(error, level=level)
        assert width is not None
        assert 2 * MECHANISMS[name].upper_tail_at(scale, int(2 * width) + 1) <= (1 - level) * (1 + 1e-9)
        assert width <= 0.5 * (MECHANISMS[name].quantile_at(scale, (1 - level) / 2) + 1), "and it is no wider than needed"


# --- calibration ------------------------------------------------------------------------------------------------------


@given(st.sampled_from(CHARGED), SENSITIVITIES, CHARGES, st.sampled_from([0, 3, 20]))
def test_the_privacy_map_at_the_sensitivity_is_within_the_charge_and_no_smaller_scale_is(
    charged: tuple[MechanismName, str], exact: Sensitivity, amount: Decimal, bits: int
) -> None:
    name, currency = charged
    given_charge: dict[str, Any] = {currency: amount}
    found = calibrate(name, "q", exact, grid_bits=bits, **given_charge)
    assert found.sensitivity == exact.rounded(bits)
    assert found.privacy_map(found.scale, found.sensitivity) <= found.charge
    assert found.privacy_map(found.scale * (1 - 1e-9), found.sensitivity) > found.charge
    assert getattr(found.event, currency) == amount
    if charged == ("laplace", "rho"):  # the largest epsilon with epsilon^2 / 2 <= rho, to 28 digits
        assert 0 <= 1 - found.charge**2 / 2 / Fraction(amount) < Fraction(1, 10**26)
    else:
        assert found.charge == Fraction(amount)
    assert (found.event.query, found.event.mechanism, found.event.delta, found.event.threshold) == ("q", name, 0, None)


@given(st.sampled_from(NAMES), SENSITIVITIES)
def test_a_distance_is_never_below_the_sensitivity_in_the_mechanisms_norm(name: MechanismName, exact: Sensitivity) -> None:
    norm = MECHANISMS[name].norm
    assert Fraction(MECHANISMS[name].distance(exact)) ** norm >= {1: exact.l1, 2: exact.l2_squared}[norm]


@pytest.mark.parametrize(
    ("partitions", "change", "charge"), [(1, 1, "0.5"), (1, 5, "2"), (4, 3, "3"), (9, 1, "1"), (3, 2, "5")]
)
@pytest.mark.parametrize(("name", "currency"), CHARGED)
def test_noise_and_shifted_noise_can_be_told_apart_no_better_than_was_charged(
    name: MechanismName, currency: str, partitions: int, change: int, charge: str
) -> None:
    """From the tails alone: no distance, no privacy map. A unit changes so many integers, each by so much."""
    exact = Sensitivity(partitions, partitions * change, partitions * change**2, change)
    amounts: dict[str, Any] = {currency: Decimal(charge)}
    found = calibrate(name, "q", exact, **amounts)
    losses = {"epsilon": [math.inf], "rho": [1.5, 2, 5, 20]}[currency]
    for order in losses:
        loss = partitions * renyi(found.scale, type(found), change, order)
        allowed = float(charge) * (order if currency == "rho" else 1)
        assert loss <= allowed * (1 + 1e-9), order


def renyi(scale: float, kind: type[Mechanism], change: int, order: float) -> float:
    """The Renyi divergence of noise and noise shifted by ``change``; of an infinite order, the largest log-ratio."""
    reach = int(18 * scale) + 30  # what is beyond has too little weight to be told from rounding
    tails = [kind.upper_tail_at(scale, x) for x in range(1, reach + 2)]
    above = [here - beyond for here, beyond in itertools.pairwise(tails)]
    logs = {x: math.log(p) for x, p in enumerate([1 - 2 * tails[0], *above]) if p > 1e-290}
    pairs = [(logs[abs(x)], logs[abs(x - change)]) for x in range(-reach, reach) if {abs(x), abs(x - change)} <= logs.keys()]
    if math.isinf(order):
        return max(p - q for p, q in pairs)
    return math.log(math.fsum(math.exp(order * p + (1 - order) * q) for p, q in pairs)) / (order - 1)


@pytest.mark.parametrize(
    ("name", "currency"), [pair for pair in itertools.product(NAMES, ["epsilon", "rho", None]) if pair not in CHARGED]
)
def test_a_charge_that_a_mechanism_does_not_know_is_refused(name: MechanismName, currency: str | None) -> None:
    charge: dict[str, Any] = {} if currency is None else {currency: Decimal(1)}
    with pytest.raises(DpSparkError, match=r"has no epsilon of its own|needs an epsilon or a rho"):
        calibrate(name, "q", ONE, **charge)


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sensitivity", [ONE, Sensitivity(4, 40, 400, 10)], ids=["small", "large"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_has_the_stddev_and_the_tails_that_are_stated(name: MechanismName, sensitivity: Sensitivity) -> None:
    found, size = mechanism(name, "0.3", sensitivity), 20_000
    drawn, event = found.draw(np.full((size // 2, 2), 500, dtype=object))
    assert event == found.event
    noise = drawn.astype(float) - 500
    # The relative error of a sample variance is sqrt((kurtosis - 1) / size): 1.7 % at most; a scale off by 20 % is off by 36 %.
    assert float((noise**2).mean()) == pytest.approx(found.stddev**2, rel=0.1)
    assert abs(float(noise.mean())) < 6 * found.stddev / math.sqrt(size)
    for at_least in {0, 1, 2, math.ceil(found.stddev), math.ceil(2 * found.stddev)}:
        expected = found.upper_tail_at(found.scale, at_least)
        assert float((noise >= at_least).mean()) == pytest.approx(expected, abs=5 * math.sqrt(expected / size))
        assert float((noise <= -at_least).mean()) == pytest.approx(expected, abs=5 * math.sqrt(expected / size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 2.5, 9.9, 10.1, 30.0])
def test_stddev_quantiles_and_half_width_are_those_of_the_tail(name: MechanismName, scale: float) -> None:
    kind = MECHANISMS[name]
    tails = [kind.upper_tail_at(scale, x) for x in range(1, int(60 * scale) + 60)]
    assert kind.stddev_at(scale) == pytest.approx(math.sqrt(2 * sum((2 * x + 1) * p for x, p in enumerate(tails))), rel=1e-9)
    width = int(kind.half_width_at(scale))
    assert width == kind.quantile_at(scale, 0.025) == next(x for x, p in enumerate(tails) if p <= (1 - 0.95) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_each_integer_of_a_partition_has_noise_of_its_own_and_each_call_draws_anew(name: MechanismName) -> None:
    found, size = mechanism(name, "0.001"), 4000
    exact = np.full((size, 3), 1000, dtype=object)
    first, second = found.draw(exact)[0], found.draw(exact)[0]
    assert first.shape == (size, 3)
    assert first.dtype == np.int64
    columns = [*first.astype(float).T, *second.astype(float).T]
    correlations = np.corrcoef(columns) - np.eye(6)
    assert float(np.abs(correlations).max()) < 6 / math.sqrt(size)
    assert (exact == 1000).all(), "what is given is not changed"


@pytest.mark.parametrize("name", NAMES)
def test_a_long_vector_keeps_its_order_and_no_two_of_its_parts_have_the_same_noise(
    name: MechanismName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_CHUNK", 100)
    values = np.array([index * 10**12 for index in range(-500, 550)] + [0, 0], dtype=object).reshape(-1, 2)
    drawn, _ = mechanism(name, "0.001").draw(values)
    noise = (drawn - values).ravel().tolist()
    assert max(abs(item) for item in noise) < 10**9, "each value has its own noise, and nobody else's"
    assert len({tuple(noise[start : start + 100]) for start in range(0, 1000, 100)}) == 10


@pytest.mark.parametrize("bits", [0, 3, 22])
@pytest.mark.parametrize("name", NAMES)
def test_exact_sums_of_any_size_are_drawn_in_steps_of_the_grid(name: MechanismName, bits: int) -> None:
    found = mechanism(name, "100", Sensitivity(1, 2**bits, 4**bits, 2**bits), grid_bits=bits)
    assert found.sensitivity == ONE
    drawn, _ = found.draw(vector([0, 5 << bits, -(7 << bits)], [2**62 << bits, 2**84 << bits, -(2**90)]))
    assert drawn == pytest.approx(np.array([[0, 5, -7], [2**62, 2**62, -(2**62)]]), abs=3)


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_sums_leave_room_for_the_largest_noise(name: MechanismName) -> None:
    found = MECHANISMS[name](ONE, Event("q", name, 2.0**57, Decimal(1), Decimal(1)))
    drawn, _ = found.draw(one_for_each([2**70] * 400))
    assert drawn.min() < 2**62 < drawn.max() < 2**63 - 1


# --- what is refused --------------------------------------------------------------------------------------------------

WRONG = [7231.0, True, np.int64(7231), np.int32(7231), 1e30, math.nan, None, "7231", Decimal(7231), [7231]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_is_not_an_int_is_refused_without_being_shown(name: MechanismName, value: Any) -> None:
    wrong = one_for_each([3, 7231, 4])
    wrong[1, 0] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DpSparkError, match="no value is shown") as caught:
            mechanism(name).draw(wrong)
    assert type(caught.value) is DpSparkError
    assert str(value) not in str(caught.value)
    assert "7231" not in str(caught.value)
    assert not isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong",
    [
        np.array([7231], dtype=object),
        np.array([[[7231]]], dtype=object),
        np.array([[7231]], dtype=np.int64),
        np.array([[7231.0]]),
        [[7231]],
    ],
    ids=["flat", "deep", "int64", "float", "list"],
)
def test_another_shape_is_refused_without_being_shown(name: MechanismName, wrong: Any) -> None:
    with pytest.raises(DpSparkError, match="no value is shown") as caught:
        mechanism(name).draw(wrong)
    assert "7231" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_long_vector_is_checked_whole_before_any_of_it_is_drawn(name: MechanismName, monkeypatch: pytest.MonkeyPatch) -> None:
    found = mechanism(name)
    monkeypatch.setattr(drawing, "_CHUNK", 10)
    monkeypatch.setattr(measurements, "additive", None)
    with pytest.raises(DpSparkError, match="no value is shown"):
        found.draw(np.array([1] * 99 + [None], dtype=object).reshape(-1, 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1, 4])
def test_no_partitions_give_no_noise(name: MechanismName, width: int) -> None:
    found = mechanism(name)
    drawn, event = found.draw(np.empty((0, width), dtype=object))
    assert (drawn.shape, drawn.dtype, event) == ((0, width), np.int64, found.event)
