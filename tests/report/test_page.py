"""The release report: what it says, that it is only what was published, and that a real browser shows all of it."""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from browser import Browser, find_browser
from chains import Chain, account
from helpers import COUNT, MEAN, PUBLIC, UNITS, release_spec
from pyspark.sql import SparkSession
from queries import manifest_of, released_table
from release_helpers import COUNT as VISITS
from release_helpers import MEAN as COST
from release_helpers import PATIENTS, Outcome, Place

from dp_spark.errors import SpecError
from dp_spark.ledger.history import BudgetHistory, budget_history
from dp_spark.ledger.state import LedgerState
from dp_spark.manifest import value_columns
from dp_spark.plan.planning import plan_release
from dp_spark.published import odds
from dp_spark.report import page as report
from dp_spark.report.charts import budget_picture, time_ticks
from dp_spark.report.values import error_counts, error_labels, largest, released

pytestmark = pytest.mark.books_in_memory

EVIL = "</td><script>alert(1)</script><img src=http://x.example/y>"
WIDTHS = {"phone": (390, 844, True), "desktop": (1280, 900, False)}


def release(keys: list[Any], counts: list[int] | None = None, **changes: Any) -> tuple[dict[str, Any], pa.Table]:
    """A manifest and rows as a release makes them, with noisy integers of our own."""
    spec = release_spec(aggregates=[UNITS, COUNT, MEAN], **changes)
    plan = plan_release(spec, "zcdp", 3 if spec.public_partitions else None)
    noisy = {query: counts or [900 - index for index, _ in enumerate(keys)] for query in plan.mechanisms}
    manifest = manifest_of(plan)
    return manifest, released_table(plan, pa.table({"test": keys}), noisy)


def ledger(manifest: dict[str, Any], charges: int = 3) -> LedgerState:
    """An opened zcdp account that was charged so often for releases like this one; the first was this one."""
    plan = plan_release(release_spec(), "zcdp", None)
    cost = {"epsilon": "1", "delta": "0.000001", "rho": str(plan.cost.amount), "accountant": "zcdp"}
    about = {"who": "classified person"}
    day = datetime(2024, 5, 31, tzinfo=UTC)
    chain = Chain().open(manifest["dataset"], account("5", "0.00001"), reason="classified reason", at=day, **about)
    for number in range(1, charges + 1):
        more = {"source": "/classified/source", "at": day + timedelta(days=30 * number), **cost, **about}
        chain.charge(manifest["dataset"], f"r{number}", *plan.events, **more)
    return chain.state()


def history(manifest: dict[str, Any], charges: int = 3) -> BudgetHistory:
    return budget_history(ledger(manifest, charges), manifest)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page.split("<main>")[1]).split())


def pictures(page: str) -> list[str]:
    return [base64.b64decode(data).decode() for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)]


# --- odds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prior", "epsilon"), [(0.01, 0.1), (0.1, 1.0), (0.5, 1.0), (0.5, 3.0)])
def test_no_evidence_within_the_guarantee_moves_a_suspicion_further(prior: float, epsilon: float) -> None:
    """Randomised response with this epsilon is the strongest evidence that the guarantee allows, and reaches both limits."""
    truth, lie = math.exp(epsilon) / (1 + math.exp(epsilon)), 1 / (1 + math.exp(epsilon))
    yes = prior * truth / (prior * truth + (1 - prior) * lie)
    no = prior * lie / (prior * lie + (1 - prior) * truth)
    assert odds.posteriors(prior, epsilon) == pytest.approx((no, yes), rel=1e-12)
    assert float(odds.percent_up(yes).split()[0]) >= 100 * yes
    assert float(odds.percent_down(no).split()[0]) <= 100 * no


def test_odds_at_the_ends() -> None:
    assert odds.posteriors(0.5, 1e8) == (0.0, 1.0)
    assert odds.factor(1e8) == math.inf
    assert odds.delta_for_contents(1.0, 0.0) == 0
    assert odds.delta_for_contents(1.0, 1e-6) == pytest.approx(3.71828e-6, rel=1e-5)
    assert odds.delta_for_contents(1e8, 1e-6) == 1


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_guarantee_in_plain_words() -> None:
    manifest, rows = release(["a", "b", "c"])
    page = text_of(report.report_page(manifest, rows))
    assert "all rows that share one value of id" in page
    assert "at most a factor of 2.72 " in page  # e
    assert "at most a factor of 7.39," in page  # its square, for two versions of a unit's rows
    assert "50 % 26.8 % to 73.2 % 11.9 % to 88.1 %" in page
    assert "1 % 0.3 % to 2.7 %" in page
    assert "tells everything with a chance of 1 in 1,000,000, and otherwise keeps to the limit for whether" in page
    assert "For what they say, that chance is at most 1 in 268,941" in page
    # Delta bounds no probability of a posterior beyond the limit: for Gaussian noise that is more likely than delta.
    assert not re.search(r"fails? |but for a chance|with a probability of at most", page)
    assert manifest["guarantee"]["sentence"].replace("'", "&#39;") in page
    assert "This limit is weak" not in page
    assert "Budget" not in page


def test_a_weak_guarantee_is_called_weak_and_one_without_delta_holds_always() -> None:
    spec = release_spec(aggregates=[COUNT], partitions=PUBLIC, privacy_unit={"row": True}, contribution_bounds=None)
    spec = spec.model_copy(update={"budget": spec.budget.model_copy(update={"epsilon": Decimal(8), "delta": Decimal(0)})})
    plan = plan_release(spec, "basic", 3)
    manifest = manifest_of(plan, file_digest="f")
    rows = released_table(plan, pa.table({"test": ["a", "b", None]}), {query: [-3, 5, 0] for query in plan.mechanisms})
    page = text_of(report.report_page(manifest, rows))
    assert "2.12 times that is its 95 % half-width" in page
    assert "This limit is weak" in page
    assert "the limits hold without exception" in page
    assert "Each row of the dataset is a unit of its own" in page
    assert "1 count is below zero" in page
    assert "null" in page
    assert "fixed beforehand" in page


def test_bounds_mechanism_and_selection_are_those_of_the_manifest() -> None:
    manifest, rows = release(["a", "b"], [500, 2])
    page = text_of(report.report_page(manifest, rows))
    count, selection = manifest["aggregates"][1], manifest["partitions"]
    assert "at most 4 partitions, and with at most 2 of its rows in each" in page
    assert f"rows count none needed discrete Gaussian {count['stddev']:.1f} ± {count['half_width_95']:.0f}" in page
    assert "average mean(value) [0, 100] discrete Gaussian differs by row: see average_stddev" in page
    assert f"at least {selection['threshold']} " in page
    assert f"one with {selection['units_for_95_percent']} units with 95 %" in page
    assert f"a 500 ± {manifest['aggregates'][0]['half_width_95']:.0f} 500 ± {count['half_width_95']:.0f}" in page
    total = count["stddev"] / 2 * math.sqrt(2)
    assert "1.96 times that is its 95 % half-width" in page
    assert f"so the half-width is {1.96 * total:.1f}" in page, "intervals are added by squares"


@pytest.mark.parametrize("strategy", ["threshold", "truncated_geometric"])
def test_every_strategy_says_how_many_units_a_partition_needs(strategy: str) -> None:
    plan = plan_release(
        release_spec(aggregates=[COUNT], partitions={"private": {"strategy": strategy, "pre_threshold": 21}}), "basic", None
    )
    manifest = manifest_of(plan)
    rows = released_table(plan, pa.table({"test": ["a"]}), {query: [500] for query in plan.mechanisms})
    page = text_of(report.report_page(manifest, rows))
    assert "Which partitions appear" in page
    assert "fewer than 21" in page
    assert f"{manifest['partitions']['units_for_95_percent']} " in page
    if strategy != "threshold":
        assert "drawn by itself (epsilon 0.5, delta 0.000001)" in page
        assert f"all with {manifest['partitions']['units_for_100_percent']}" in page


def test_a_bound_on_all_rows_conditions_and_values_of_units_are_told() -> None:
    asked = [{**COUNT, "where": "value is not null"}, {**MEAN, "per_unit": "sum"}]
    bounds = {"max_partitions_contributed": 4, "max_contributions_per_partition": 2, "max_contributions": 6}
    plan = plan_release(release_spec(aggregates=asked, contribution_bounds=bounds), "zcdp", None)
    noisy = {query: [500] for query in plan.mechanisms}
    page = text_of(report.report_page(manifest_of(plan), released_table(plan, pa.table({"test": ["a"]}), noisy)))
    assert "with at most 2 of its rows in each, and with at most 6 of its rows in all" in page
    assert "count where value is not null" in page
    assert "mean(value) per_unit sum [0, 100]" in page


def test_relative_errors_near_zero() -> None:
    manifest, rows = release(list("abcd"), [0, -900, 900, 3])
    cells = released(manifest, value_columns(manifest)[1], rows.to_pylist())
    width = manifest["aggregates"][1]["half_width_95"]
    assert cells[0].relative_error == math.inf
    assert cells[1].relative_error == cells[2].relative_error == pytest.approx(width / 900)
    named = dict(zip(error_labels(), error_counts(cells), strict=True))
    assert (named["5 to 10 %"], named["over 100 %"], sum(named.values())) == (2, 2, 4)
    mean = released(manifest, value_columns(manifest)[2], rows.to_pylist())
    assert dict(zip(error_labels(), error_counts(mean), strict=True))["no error bar"] == 3
    known = mean[2].interval
    assert known is not None
    assert 0 <= known[0] <= known[1] <= 100, "a mean's interval is cut at the clipping bounds"


@pytest.mark.slow
def test_many_partitions_are_cut_aloud() -> None:
    number = 2_003
    manifest, rows = release(
        [f"key{index:04}" for index in range(number)], [(index * 7919) % number for index in range(number)]
    )
    page = report.report_page(manifest, rows)
    shown = text_of(page)
    assert "the 60 largest of 2,003 values. The other 1,943 are not drawn here" in shown
    assert "all 2,003 values, the largest first" in shown
    assert "The first 2,000 rows are listed; 3 more" in shown
    cells = released(manifest, value_columns(manifest)[1], rows.to_pylist())
    chosen = largest(cells, 60)
    assert {item.value for item in chosen} == set(range(number - 60, number))
    assert [item.position for item in chosen] == sorted(item.position for item in chosen)
    names = re.findall(r">(key\d{4})<", pictures(page)[1])
    assert names == [item.partition for item in chosen]
    assert len(page) < 3_000_000


def test_a_small_release_is_drawn_whole_and_in_order() -> None:
    manifest, rows = release(["z", "a", "c", "c"], [900, 2, 700, 800])
    first, _, mean, *_ = pictures(report.report_page(manifest, rows))
    assert re.findall(r">([acz])<", first) == ["z", "a", "c", "c"], "two keys with one text are two lines"
    assert re.findall(r">([acz])<", mean) == ["z", "a", "c", "c"], "a line without an error bar keeps its place"


def test_an_empty_release_has_a_report() -> None:
    manifest, rows = release([])
    page = report.report_page(manifest, rows)
    assert "No partition was released" in page
    assert pictures(page) == []


def test_keys_and_names_are_only_text() -> None:
    manifest, rows = release([EVIL, "a\u202eb\x00c", "x" * 300], dataset="nafld")
    manifest["name"] = manifest["dataset"] = EVIL
    page = report.report_page(manifest, rows, None)
    for part in (page, *pictures(page)):
        assert "<script" not in part
        assert "http://x.example" not in re.sub(r"&lt;/td.*?&gt;", "", part.replace("&lt;img src=http://x.example/y&gt;", ""))
    assert "a\\u202eb\\u0000c" in page
    assert "&lt;script&gt;alert(1)" in page


# --- the budget ------------------------------------------------------------------------------------------------------


def test_the_budget_over_time() -> None:
    manifest, rows = release(["a", "b"])
    found = history(manifest)
    rho = found.last.account.rho
    assert rho is not None
    each = plan_release(release_spec(), "zcdp", None).cost.amount
    assert [step.shares_left["rho"] for step in found.steps] == pytest.approx(
        [1 - index * float(each / rho) for index in range(4)]
    )
    assert [step.shares_left["delta"] for step in found.steps] == pytest.approx([1, 0.9, 0.8, 0.7])
    page = report.report_page(manifest, rows, found)
    shown = text_of(page)
    assert "Spent on 3 releases" in shown
    assert "2024-06-30 00:00 UTC r1 (this one)" in shown
    left, _ = found.last.account.remaining_display(found.last.spent)
    assert f"Left {left} 0.000007" in shown
    for secret in ("classified", "/source"):
        assert secret not in page + "".join(pictures(page)), "the ledger's sources, people and reasons stay there"
    many = text_of(report.report_page(manifest, rows, history(manifest, 5)))
    assert "Spent on 5 releases" in many


def test_only_the_last_charges_are_listed_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, rows = release(["a"])
    monkeypatch.setattr(report, "CHARGES_IN_THE_TABLE", 2)
    shown = text_of(report.report_page(manifest, rows, history(manifest, 4)))
    assert "The last 2 of 4 charges; 2 older ones are in the ledger only" in shown
    assert "r4" in shown


@pytest.mark.parametrize("changed", ["release_id", "file_digest", "dataset", "sequence"])
def test_a_ledger_that_did_not_pay_is_refused(changed: str) -> None:
    manifest, _ = release(["a"])
    state = ledger(manifest)
    other = (
        {**manifest, "charge": {**manifest["charge"], "sequence": 9}} if changed == "sequence" else {**manifest, changed: "zz"}
    )
    with pytest.raises(SpecError, match="was not charged"):
        budget_history(state, other)


@pytest.mark.parametrize("seconds", [0, 0.4, 3, 50, 600, 7_000, 90_000, 500_000, 3_000_000, 20_000_000, 300_000_000])
def test_no_two_marks_of_time_have_one_text(seconds: float) -> None:
    first = datetime(2026, 1, 31, 23, 59, 58, 500_000, tzinfo=UTC)
    last = first + timedelta(seconds=seconds)
    ticks, form, _ = time_ticks(first, last)
    texts = [f"{tick:{form}}" for tick in ticks]
    assert 1 <= len(set(texts)) == len(texts) <= 7
    assert all(first <= tick <= last for tick in ticks)


def test_a_line_of_the_budget_is_seen_where_two_have_the_same_share() -> None:
    """Rho is drawn after delta, and narrower."""
    manifest, _ = release(["a"])
    picture = budget_picture(history(manifest))
    widths = re.findall(r'stroke-width="([27])"', base64.b64decode(picture.source.partition(",")[2]).decode())
    assert widths.index("7") < len(widths) - 1 - widths[::-1].index("2")
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", base64.b64decode(picture.source.partition(",")[2]).decode())
    shown = [text for text in texts if text not in ("delta", "rho")]
    assert len(set(shown)) == len(shown)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(spark: SparkSession, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A release of a zcdp account; a test that changes its table changes a copy."""
    place = Place.copied(template, tmp_path_factory.mktemp("published"), spark)
    place.release("r1", dataset="gauss", aggregates=[PATIENTS, VISITS, COST], budget={"epsilon": 4, "delta": 0.000004})
    return place


@pytest.mark.slow
def test_the_command_from_end_to_end(published: Place, cli: Callable[..., Outcome], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    outcome = cli("show", published.sink, "--html", file, "--ledger", published.ledger)
    assert outcome.code == 0, outcome.err
    assert f"Report      {file}" in outcome.out
    page = file.read_text(encoding="utf-8")
    shown = text_of(page)
    for row in published.sink_rows():
        width = published.drawn("r1").manifest["aggregates"][0]["half_width_95"]
        assert f"{row['ward']} {row['patients']} ± {width:.0f}" in shown
    assert "r1 (this one)" in shown
    for path in (published.source, published.folder, tmp_path, Path.cwd()):
        assert str(path) not in page + "".join(pictures(page))
    document = cli("show", published.sink, "--html", file, "--json").document
    assert document["release_id"] == "r1"
    assert "Budget" not in text_of(file.read_text(encoding="utf-8"))
    for arguments, code, words in (
        (("--ledger", published.ledger), 2, "--html"),
        (("--html", published.folder / "absent" / "x.html"), 2, "cannot be written"),
        (("--html", file, "--ledger", published.folder / "nothing"), 3, "there is no ledger"),
    ):
        failed = cli("show", published.sink, *arguments)
        assert (failed.code, words in failed.err) == (code, True), failed.err


@pytest.mark.slow
@pytest.mark.parametrize("change", ["manifest", "rows"])
def test_with_a_ledger_it_tells_only_what_was_drawn(
    published: Place, cli: Callable[..., Outcome], tmp_path: Path, change: str
) -> None:
    sink, file = shutil.copytree(published.sink, tmp_path / "release"), tmp_path / "report.html"
    table, manifest = f"delta.`{sink}`", published.drawn("r1").manifest
    assert cli("show", sink, "--html", file, "--ledger", published.ledger).code == 0, "a copy is shown, too"
    file.unlink()
    forged = {**manifest, "guarantee": {**manifest["guarantee"], "epsilon": "0.1"}}
    text = json.dumps(forged).replace("'", "\\'")
    published.spark.sql(
        f"ALTER TABLE {table} SET TBLPROPERTIES ('dp_spark.manifest' = '{text}')"
        if change == "manifest"
        else f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1"
    )
    outcome = cli("show", sink, "--html", file, "--ledger", published.ledger, "--json")
    assert (outcome.code, file.exists()) == (6, False)
    assert "r1: the" in outcome.error["message"]


def test_without_altair_it_says_what_to_install(
    tmp_path: Path, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = report.importlib.util.find_spec
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None if name == "altair" else find(name))
    error = cli("show", tmp_path, "--html", tmp_path / "x.html", "--json")
    assert error.code == 2
    assert error.error["message"] == "a report needs altair"
    assert "dp_spark[report]" in error.error["mend"]


# --- in a browser ----------------------------------------------------------------------------------------------------

#: Text whose contrast with what is behind it is below WCAG AA: 4.5, or 3 where it is large.
_POOR_CONTRAST = """(() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => linear(v / 255)); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255]; };
  const poor = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e), a = light(rgb(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push(e.tagName + ' ' + e.textContent.slice(0, 30) + ' ' + ratio);
  }
  return poor; })()"""
_OVERFLOWING = """[...document.querySelectorAll('main *, header *')].filter(e => !e.closest('.box')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
#: The number of different colours that each picture has when it is drawn: one where it is blank.
_COLOURS = """Promise.all([...document.images].map(async image => {
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  return new Set(new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size; }))"""
_HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(e => Number(e.tagName[1]))"
_SCROLLING = """[...document.querySelectorAll('.box')].filter(e => e.scrollWidth > e.clientWidth + 1
  && !(getComputedStyle(e).overflowX === 'auto' && e.tabIndex === 0
  && (e.ariaLabel || e.getAttribute('aria-labelledby')))).length"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        message = "no Chromium here: run scripts/install_browser.sh to have the report looked at in a browser"
        if os.environ.get("DP_SPARK_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    with Browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module", params=["few", "many", "evil"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys: dict[str, list[Any]] = {
        "few": ["a", "b", "c"],
        "many": [f"ward {index}" for index in range(2_000)],
        "evil": [EVIL, "x" * 300, "\u202eright to left", None],
    }
    manifest, rows = release(keys[request.param])
    if request.param == "evil":
        manifest["name"] = manifest["release_id"] = EVIL + "y" * 200
        text = report.report_page(manifest, rows)
    else:
        text = report.report_page(manifest, rows, history(manifest))
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("size", WIDTHS)
def test_a_browser_shows_all_of_it(browser: Browser, page: Path, size: str, tmp_path: Path) -> None:
    width, height, mobile = WIDTHS[size]
    browser.open(page, width, height, mobile=mobile)
    assert browser.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), browser.ask(
        _OVERFLOWING
    )
    assert browser.ask(_OVERFLOWING) == []
    assert browser.ask(_SCROLLING) == 0, "what scrolls is reached by keyboard and has a name"
    assert browser.ask("document.images.length") >= 6
    assert browser.ask("[...document.images].every(e => e.alt.length > 30 && e.closest('figure').querySelector('figcaption'))")
    assert min(browser.ask(_COLOURS)) > 4, "a picture is blank"
    assert browser.ask(_POOR_CONTRAST) == []
    headings = browser.ask(_HEADINGS)
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    assert browser.ask("document.documentElement.lang") == "en"
    assert browser.ask("document.scripts.length") == 0
    browser.screenshot(tmp_path / "seen.png")
    assert (tmp_path / "seen.png").stat().st_size > 10_000
    assert browser.complaints() == []
    assert [item[:60] for item in browser.requests() if not item.startswith(("file://", "data:"))] == []
    assert len([item for item in browser.requests() if item.startswith("file://")]) == 1


def test_a_browser_prints_it(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, 680, 1000)  # as wide as A4 within its margins
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.ask("Math.max(...[...document.querySelectorAll('figure')].map(e => e.offsetHeight))") < 1_000, (
        "higher than a page"
    )
    assert browser.ask("[...document.querySelectorAll('figure')].every(e => getComputedStyle(e).breakInside === 'avoid')")
    assert browser.ask(
        "[...document.querySelectorAll('.box')].every(e => getComputedStyle(e).overflowX === 'visible'"
        " && e.getBoundingClientRect().right <= document.documentElement.clientWidth + 1)"
    )
    browser.pdf(tmp_path / "printed.pdf")
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "printed.pdf").read_bytes())) >= 3


def test_text_in_pictures_has_contrast() -> None:
    manifest, rows = release(["a", "b"])
    for picture in pictures(report.report_page(manifest, rows, history(manifest))):
        colours = set(re.findall(r'<text[^>]*fill="(#[0-9a-f]{6})"', picture))
        assert colours
        for colour in colours:
            red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
            parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
            light = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
            assert 1.05 / (light + 0.05) >= 4.5, colour
