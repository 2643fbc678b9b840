"""The protocol of ledger, outbox and publication as a small model, explored exhaustively: no Spark, no files, no clock.

Two runs take their atomic steps in every order; each may die at any step, twice, and is started again from the beginning
with the same release id, as is one that lost to its rival. What must hold (``broken``) is checked in every state, and from
every state in which both have ended each is run once more, alone: it must complete, or be refused for good (``unhealed``).

The steps, and what they are in the code:
    read outbox, witness, ledger: ``books.read_books``; check_sink: ``prepare.validate`` with ``tables.check_sink``
    decide, append, read_back, remember: ``Chain.append`` for ``charge`` and ``mark_published``: decide on a known state,
        MERGE guarded on the sequence number, look for one's own entry, ``Witness.remember``
    make_draw: ``draw.draw_quietly``, fresh noise: here a token that names the run and its attempt
    commit_draw, find_draw: ``Outbox.commit``: MERGE guarded on the release id, then what is there
    see_version, read_manifest: ``publication.publish``: ``newest_version``, and whether a newer release is there
    write_files, commit_sink, check_manifest: ``tables.publish``: Delta's transaction begins and leaves data files that
        nothing names yet, one conditional commit, the manifest read again
A local ledger has the witness and ``local_lock``, which is freed when its holder dies; a shared one has
neither. One thing is simpler here: an append tries until it succeeds, in the code 12 times (then exit code 5).

The model is the protocol as it should be. The known gaps of docs/ledger.md are mutations of it: ``TWO_TRANSACTIONS``
(``tables.publish``) and ``STALE_ALARM`` (``prepare.validate``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import pytest

CHARGE, PUBLISHED = "charge", "published"
DONE, LOST, REFUSED, DAMAGED = "end published", "end lost", "end refused", "end damaged"
CRASHES = 2
Draw = tuple[int, int] | None  # the run that drew it, and in which attempt: every draw is another


class Mutation(StrEnum):
    """A wrong protocol, which the exploration must find out."""

    NONE = "the protocol"
    OWN_DRAW = "publishes its own draw and not the outbox's"
    UNGUARDED_CHARGE = "appends a charge without a guard on its number"
    NO_READ_BACK = "believes a charge without reading it back"
    CHARGE_AFTER_DRAW = "charges after the draw is in the outbox"
    RECHARGE = "charges a release again that was charged and not drawn"
    UNGUARDED_OUTBOX = "adds a draw where there is one"
    PUBLISH_FIRST = "publishes before the draw is in the outbox"
    REDRAW = "draws again what was drawn before"
    NO_LOOK = "does not look whether a newer release is there"
    STALE_LOOK = "looks for a newer release in the ledger as it was when the run was charged"
    TWO_TRANSACTIONS = "lets two releases that follow the same version of the sink be two transactions"
    LEDGER_FIRST = "reads the ledger before the outbox"
    WITNESS_LAST = "reads the ledger before the witness"
    STALE_ALARM = "calls the draw lost because the outbox had none when the run began"


class Entry(NamedTuple):
    kind: str
    release: int
    by: int  # the run; the code knows its own entry by all its columns


class Version(NamedTuple):
    release: int
    draw: Draw
    base: int  # the version that its publisher looked at: the name of Delta's transaction


class Run(NamedTuple):
    """What one process knows. A crash forgets all but the release id."""

    release: int
    attempt: int
    step: str
    drawn: frozenset[int] = frozenset()  # the releases in the outbox
    seen: int = 0  # entries, by the witness
    known: int = 0  # entries, when the ledger was last read
    base: int = 0  # the version of the sink that it looked at
    snapshot: int = 0  # and the one that Delta's transaction began with
    draw: Draw = None


class World(NamedTuple):
    """What is shared, and the runs; a place in a tuple is a sequence number or a version."""

    runs: tuple[Run, ...]
    ledger: tuple[Entry, ...] = ()
    outbox: tuple[tuple[int, Draw], ...] = ()
    sink: tuple[Version, ...] = ()
    files: frozenset[tuple[int, Draw]] = frozenset()  # in the sink, whether a version names them or not
    witness: int = 0
    holder: int | None = None  # of the lock

    def put(self, i: int, run: Run) -> World:
        return self._replace(runs=(*self.runs[:i], run, *self.runs[i + 1 :]))

    def go(self, i: int, step: str) -> World:
        run = self.runs[i]
        return self.put(i, Run(run.release, run.attempt, step) if step.startswith("end") else run._replace(step=step))

    def free(self, i: int) -> World:
        return self._replace(holder=None) if self.holder == i else self

    @property
    def drawn(self) -> frozenset[int]:
        return frozenset(release for release, _ in self.outbox)

    def number_of(self, kind: str, release: int, known: int | None = None) -> int | None:
        """The sequence number of a release's first entry of this kind, among those that are known."""
        found = (at for at, entry in enumerate(self.ledger[:known]) if entry.kind == kind and entry.release == release)
        return next(found, None)


class Scenario(NamedTuple):
    releases: tuple[int, int]
    budget: int  # every charge costs 1
    local: bool
    mutation: Mutation = Mutation.NONE


class Model:
    """The steps, by name. Each gives the world after it, or None where it waits for the lock."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.mutation = scenario, scenario.mutation
        order = {Mutation.LEDGER_FIRST: "witness ledger outbox", Mutation.WITNESS_LAST: "outbox ledger witness"}
        reads = order.get(self.mutation, "outbox witness ledger").split()
        self.reads = [f"read {what}" for what in reads if what != "witness" or scenario.local]

    def begin(self, release: int, attempt: int) -> Run:
        return Run(release, attempt, self.reads[0])

    def after(self, world: World, i: int) -> World | None:
        name, _, argument = world.runs[i].step.partition(" ")
        method = getattr(self, name)
        found: World | None = method(argument, world, i) if argument else method(world, i)
        return found

    def successors(self, world: World) -> Iterator[tuple[str, World]]:
        for i, run in enumerate(world.runs):
            ended = run.step.startswith("end")
            after = None if ended else self.after(world, i)
            if after is not None:
                yield f"{i}: {run.step}", after
            if run.attempt < CRASHES and (not ended or run.step == LOST):
                yield f"{i}: starts again", world.free(i).put(i, self.begin(run.release, run.attempt + 1))

    def locked(self, world: World, i: int) -> World | None:
        if not self.scenario.local or world.holder == i:
            return world
        return world._replace(holder=i) if world.holder is None else None

    # --- the ledger ----------------------------------------------------------------------------------------------------

    def read(self, what: str, world: World, i: int) -> World:
        run, left = world.runs[i], self.reads[self.reads.index(f"read {what}") + 1 :]
        new: dict[str, Run] = {
            "outbox": run._replace(drawn=world.drawn),
            "witness": run._replace(seen=world.witness),
            "ledger": run._replace(known=len(world.ledger)),
        }
        run = new[what]._replace(step=left[0]) if left else self.judged(world, new[what])
        return world.put(i, run)

    def judged(self, world: World, run: Run) -> Run:
        """The run that has read it all: ledger, witness and outbox vouch for each other."""
        there = {(entry.kind, entry.release) for entry in world.ledger[: run.known]}
        published = {release for kind, release in there if kind == PUBLISHED}
        drawn = run.drawn if published <= run.drawn else world.drawn
        if run.seen > run.known or not published <= drawn or any((CHARGE, release) not in there for release in run.drawn):
            return run._replace(step=DAMAGED)
        run = run._replace(seen=0, drawn=frozenset())
        if run.release not in drawn:
            return run._replace(step="check_sink")
        again = "make_draw" if self.mutation is Mutation.REDRAW else "find_draw"
        return run._replace(step=DONE if run.release in published else again)

    def decide(self, kind: str, world: World, i: int) -> World | None:
        locked, run = self.locked(world, i), world.runs[i]
        if locked is None:
            return None
        again = kind == CHARGE and self.mutation is Mutation.RECHARGE
        if world.number_of(kind, run.release, run.known) is not None and not again:
            return self.appended(kind, locked, i)
        spent = sum(entry.kind == CHARGE for entry in world.ledger[: run.known])
        if kind == CHARGE and spent >= self.scenario.budget:
            return locked.free(i).go(i, REFUSED)
        return locked.go(i, f"append {kind}")

    def append(self, kind: str, world: World, i: int) -> World:
        run = world.runs[i]
        if len(world.ledger) == run.known or (kind == CHARGE and self.mutation is Mutation.UNGUARDED_CHARGE):
            world = world._replace(ledger=(*world.ledger, Entry(kind, run.release, i)))
        believes = kind == CHARGE and self.mutation is Mutation.NO_READ_BACK
        return self.appended(kind, world, i) if believes else world.go(i, f"read_back {kind}")

    def read_back(self, kind: str, world: World, i: int) -> World:
        run = world.runs[i]
        mine = world.ledger[run.known : run.known + 1] == (Entry(kind, run.release, i),)
        world = world.put(i, run._replace(known=len(world.ledger)))
        if mine and not self.scenario.local:
            return self.appended(kind, world, i)
        return world.go(i, f"remember {kind}" if mine else f"decide {kind}")

    def remember(self, kind: str, world: World, i: int) -> World:
        return self.appended(kind, world._replace(witness=world.runs[i].known), i)

    def appended(self, kind: str, world: World, i: int) -> World:
        late = self.mutation is Mutation.CHARGE_AFTER_DRAW
        return world.free(i).go(i, DONE if kind == PUBLISHED else "see_version" if late else "make_draw")

    # --- the draw ------------------------------------------------------------------------------------------------------

    def check_sink(self, world: World, i: int) -> World:
        run = world.runs[i]
        charged = world.number_of(CHARGE, run.release, run.known) is not None
        if charged and world.sink and world.sink[-1].release == run.release:
            lost = self.mutation is Mutation.STALE_ALARM or run.release not in world.drawn
            return world.go(i, DAMAGED) if lost else world.put(i, self.begin(run.release, run.attempt))
        return world.go(i, "make_draw" if self.mutation is Mutation.CHARGE_AFTER_DRAW else "decide charge")

    def make_draw(self, world: World, i: int) -> World:
        run = world.runs[i]._replace(draw=(i, world.runs[i].attempt))
        early = self.mutation in (Mutation.PUBLISH_FIRST, Mutation.REDRAW)
        return world.put(i, run._replace(step="see_version" if early else "commit_draw"))

    def commit_draw(self, world: World, i: int) -> World | None:
        run = world.runs[i]
        if self.locked(world, i) is None:
            return None
        if run.release not in world.drawn or self.mutation is Mutation.UNGUARDED_OUTBOX:
            world = world._replace(outbox=(*world.outbox, (run.release, run.draw)))
        return world.go(i, "find_draw")

    def find_draw(self, world: World, i: int) -> World:
        run, then = world.runs[i], {Mutation.PUBLISH_FIRST: "decide published", Mutation.CHARGE_AFTER_DRAW: "decide charge"}
        if run.draw is None or self.mutation is not Mutation.OWN_DRAW:
            run = run._replace(draw=next(draw for release, draw in world.outbox if release == run.release))
        return world.put(i, run._replace(step=then.get(self.mutation, "see_version")))

    # --- the sink ------------------------------------------------------------------------------------------------------

    def see_version(self, world: World, i: int) -> World | None:
        locked, run = self.locked(world, i), world.runs[i]
        return None if locked is None else locked.put(i, run._replace(step="read_manifest", base=len(world.sink)))

    def read_manifest(self, world: World, i: int) -> World:
        run = world.runs[i]
        if not world.sink:
            return world.go(i, "write_files")
        present, known = world.sink[-1], run.known if self.mutation is Mutation.STALE_LOOK else None
        if (present.release, present.draw) == (run.release, run.draw):
            return self.published(world, i)
        other, mine = world.number_of(CHARGE, present.release, known), world.number_of(CHARGE, run.release)
        newer = other is not None and mine is not None and other > mine and self.mutation is not Mutation.NO_LOOK
        return world.free(i).go(i, LOST) if newer else world.go(i, "write_files")

    def write_files(self, world: World, i: int) -> World:
        run, any_release = world.runs[i], self.mutation is not Mutation.TWO_TRANSACTIONS
        if any(version.base == run.base and (any_release or version.release == run.release) for version in world.sink):
            return world.go(i, "check_manifest")  # this transaction was committed before: Delta skips it without a word
        world = world._replace(files=world.files | {(run.release, run.draw)})
        return world.put(i, run._replace(step="commit_sink", snapshot=len(world.sink)))

    def commit_sink(self, world: World, i: int) -> World:
        run = world.runs[i]
        if len(world.sink) == run.snapshot:
            world = world._replace(sink=(*world.sink, Version(run.release, run.draw, run.base)))
        return world.go(i, "check_manifest")

    def check_manifest(self, world: World, i: int) -> World:
        run, present = world.runs[i], world.sink[-1]
        mine = (present.release, present.draw) == (run.release, run.draw)
        return self.published(world, i) if mine else world.free(i).go(i, LOST)

    def published(self, world: World, i: int) -> World:
        if self.mutation is Mutation.PUBLISH_FIRST:
            return world.free(i).go(i, "commit_draw")
        return world.free(i).put(i, world.runs[i]._replace(step="decide published", base=0, snapshot=0, draw=None))


# --- what must hold ----------------------------------------------------------------------------------------------------


def broken(world: World, budget: int) -> str | None:
    """The first rule that does not hold in this state."""
    if any(run.step == DAMAGED for run in world.runs):
        return "nothing is called damaged"
    return _broken(world.ledger, world.outbox, world.sink, world.files, budget)


@functools.cache
def _broken(
    ledger: tuple[Entry, ...],
    outbox: tuple[tuple[int, Draw], ...],
    sink: tuple[Version, ...],
    files: frozenset[tuple[int, Draw]],
    budget: int,
) -> str | None:
    made = [(entry.kind, entry.release) for entry in ledger]
    charges = {release: at for at, (kind, release) in enumerate(made) if kind == CHARGE}
    outside, inside = {version[:2] for version in sink} | files, set(outbox)
    order = [charges.get(version.release, -1) for version in sink]
    rules = {
        "spent is within the budget": sum(kind == CHARGE for kind, _ in made) <= budget,
        "one charge and one publication for a release": len(set(made)) == len(made),
        "one draw for a release": len(outside | inside) == len({release for release, _ in outside | inside}),
        "only the outbox's draw reaches the sink": outside <= inside,
        "what is drawn was charged": all(release in charges for release, _ in inside),
        "a newer release is never overwritten": order == sorted(order),
    }
    return next((rule for rule, holds in rules.items() if not holds), None)


def unhealed(model: Model, world: World) -> str | None:
    """What is wrong in an end state, or stays wrong when each run is repeated alone."""
    if any(run.step == DONE and world.number_of(PUBLISHED, run.release) is None for run in world.runs):
        return "what ended well is published"
    for i, run in enumerate(world.runs):
        world = world.put(i, model.begin(run.release, CRASHES + 1))
        while not world.runs[i].step.startswith("end"):
            after = model.after(world, i)
            if after is None:
                return "the lock is freed"
            world = after
    for run in world.runs:
        charge, published = world.number_of(CHARGE, run.release), world.number_of(PUBLISHED, run.release) is not None
        newer = any((world.number_of(CHARGE, version.release) or 0) > (charge or 0) for version in world.sink)
        if run.step != (DONE if published else REFUSED if charge is None else LOST if newer else "nothing else"):
            return "what is charged is published, or a newer one is there"
        if published and run.release not in {version.release for version in world.sink}:
            return "what is called published is in the sink"
    return broken(world, model.scenario.budget)


class Explored(NamedTuple):
    """The number of states, and where a rule is broken the rule and the steps that lead there."""

    states: int
    rule: str | None = None
    path: tuple[str, ...] = ()


def explore(scenario: Scenario) -> Explored:
    """Every state that can be reached, depth first; stops at the first that breaks a rule."""
    model = Model(scenario)
    start = World(tuple(model.begin(release, 0) for release in scenario.releases))
    known, stack = {start}, [("start", model.successors(start))]
    while stack:
        label, world = next(stack[-1][1], ("", None))
        if world is None:
            stack.pop()
        elif world not in known:
            known.add(world)
            rule = broken(world, scenario.budget)
            if rule is None and all(run.step.startswith("end") for run in world.runs):
                rule = unhealed(model, world)
            if rule is not None:
                return Explored(len(known), rule, (*(step for step, _ in stack), label))
            stack.append((label, model.successors(world)))
    return Explored(len(known))


LOCAL, SHARED = True, False
Runs = tuple[tuple[int, int], int]  # the releases of the two runs, and how many charges the budget bears
SAME: Runs = ((1, 1), 2)
ONE: Runs = ((1, 2), 1)
BOTH: Runs = ((1, 2), 2)
#: Where each mutation is found out, and by which rule.
CAUGHT: dict[Mutation, tuple[Runs, bool, str]] = {
    Mutation.OWN_DRAW: (SAME, SHARED, "one draw for a release"),
    Mutation.UNGUARDED_CHARGE: (ONE, SHARED, "spent is within the budget"),
    Mutation.NO_READ_BACK: (BOTH, SHARED, "what is drawn was charged"),
    Mutation.CHARGE_AFTER_DRAW: (ONE, LOCAL, "what is drawn was charged"),
    Mutation.RECHARGE: (SAME, LOCAL, "one charge and one publication for a release"),
    Mutation.UNGUARDED_OUTBOX: (SAME, SHARED, "one draw for a release"),
    Mutation.PUBLISH_FIRST: (SAME, LOCAL, "only the outbox's draw reaches the sink"),
    Mutation.REDRAW: (SAME, LOCAL, "only the outbox's draw reaches the sink"),
    Mutation.NO_LOOK: (BOTH, LOCAL, "a newer release is never overwritten"),
    Mutation.STALE_LOOK: (BOTH, LOCAL, "a newer release is never overwritten"),
    Mutation.TWO_TRANSACTIONS: (BOTH, SHARED, "a newer release is never overwritten"),
    Mutation.LEDGER_FIRST: (BOTH, SHARED, "nothing is called damaged"),
    Mutation.WITNESS_LAST: (SAME, LOCAL, "nothing is called damaged"),
    Mutation.STALE_ALARM: (SAME, LOCAL, "nothing is called damaged"),
}


@pytest.mark.slow
@pytest.mark.parametrize("local", [LOCAL, SHARED], ids=["local", "shared"])
@pytest.mark.parametrize("runs", [SAME, ONE, BOTH], ids=["one release", "budget for one", "budget for both"])
def test_every_interleaving_keeps_the_invariants(runs: Runs, local: bool) -> None:
    explored = explore(Scenario(*runs, local))
    assert explored.rule is None, explored
    assert explored.states > 5_000, "most of the model was not reached"


@pytest.mark.parametrize(
    "mutation", [item for item in Mutation if item is not Mutation.NONE], ids=lambda item: item.name.lower()
)
def test_a_wrong_protocol_is_found_out(mutation: Mutation) -> None:
    runs, local, rule = CAUGHT[mutation]
    explored = explore(Scenario(*runs, local, mutation))
    assert explored.rule == rule, mutation
    assert explored.path, "and how it comes about"
