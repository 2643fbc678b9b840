"""Quantiles of a column: all of one aggregate from one noisy tree per partition."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import override

from dp_spark.aggregates.bins import each_once
from dp_spark.aggregates.places import Places
from dp_spark.privacy.decimals import decimal_text
from dp_spark.schema.model import no_bool

#: A share of all values.
Share = Annotated[float, BeforeValidator(no_bool), Field(gt=0, lt=1)]


#: As many quantiles as one aggregate can have: each is three columns.
_MOST = 100


def _not_too_many(shares: tuple[float, ...]) -> tuple[float, ...]:
    if len(shares) > _MOST:
        raise ValueError(f"lists {len(shares)} quantiles, and at most {_MOST} are possible; use a cdf, which tells all of them")
    return shares


def percent_name(share: float) -> str:
    """A share of 1 as the end of a column's name; two shares have two names.

    >>> [percent_name(share) for share in (0.05, 0.5, 0.999, 0.125, 1e-5)]
    ['p5', 'p50', 'p99_9', 'p12_5', 'p0_001']
    """
    return "p" + decimal_text(Decimal(repr(share)) * 100).replace(".", "_")


class Quantiles(Places):
    """Quantiles of numbers that are clipped to [min_value, max_value]; they ascend with their shares."""

    released_as: ClassVar[str] = (
        "`<name>_p5`, `<name>_p5_low`, `<name>_p5_high`, ... DOUBLE: each quantile and the ends of its 95 % interval"
    )

    function: Literal["quantiles"]
    quantiles: Annotated[
        tuple[Share, ...], Field(min_length=1), AfterValidator(_not_too_many), AfterValidator(each_once("quantile"))
    ]

    @property
    @override
    def asked(self) -> Mapping[str, float]:
        return {f"{self.name}_{percent_name(share)}": share for share in self.quantiles}
