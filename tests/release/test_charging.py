"""What a release that was charged and not drawn may go on as; no JVM."""

from __future__ import annotations

import pytest
from chains import Chain, account, laplace

from dp_spark.errors import BudgetError
from dp_spark.release.charging import check_resumable

OLD, NOW = "jdbc:1:2", '["jdbc:1:2", "db:h1:p:t..d", "db:h9:p:t..d"]'


def charged() -> Chain:
    return Chain().open("a", account("1")).open("b", account("1")).charge("a", "r1", laplace("0.1"), source=OLD)


def test_a_charge_does_not_go_on_with_what_another_account_was_charged_for() -> None:
    """An earlier version's charge does not tell which server a setting of the URL names."""
    chain = charged()
    [charge] = chain.state().charges
    check_resumable(chain.state(), charge.entry, NOW, '["id"]', [laplace("0.1")])
    state = chain.charge("b", "r2", laplace("0.1"), source='["jdbc:9:2", "db:h9:p:t..d"]').state()
    with pytest.raises(BudgetError, match="another dataset"):
        check_resumable(state, charge.entry, NOW, '["id"]', [laplace("0.1")])


@pytest.mark.parametrize(
    ("source", "unit", "epsilon", "message"),
    [
        ("jdbc:3:4", '["id"]', "0.1", "charged for another source"),
        (NOW, '["ward"]', "0.1", "charged for the unit"),
        (NOW, '["id"]', "0.2", "charged for other noise"),
    ],
)
def test_it_goes_on_only_as_what_it_was_charged_for(source: str, unit: str, epsilon: str, message: str) -> None:
    state = charged().state()
    with pytest.raises(BudgetError, match=message):
        check_resumable(state, state.charges[0].entry, source, unit, [laplace(epsilon)])
