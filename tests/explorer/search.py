"""Goes through everything that may happen in a world, or much of it at random; shrinks what violates something."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.explorer.world import Action, Setup, Violation, World

Make = Callable[[Setup], World]
_GOES_ON = 0.85


@dataclass
class Result:
    """How many different states were seen in how many steps, whether those were all, and the first violation."""

    states: int = 0
    steps: int = 0
    endings: int = 0
    runs: int = 0
    complete: bool = False
    violation: str = ""
    story: list[Action] = field(default_factory=list)

    def __str__(self) -> str:
        extent = "all" if self.complete else "not all"
        found = f"{self.states} states ({extent}), {self.steps} steps, {self.endings} endings"
        return f"{found}: {self.violation or '0 violations'}"


def explore(make: Make, setup: Setup, *, states: int = 10**9, seconds: float = 1e9, seed: int = 0) -> Result:
    """Every state that can be reached, until there were so many or so much time has passed.

    A state is reached again by doing the same from the beginning. What was seen before is not gone on from. Where to
    go on is picked at random, so that what is left out is not all of one kind; the same seed, the same states.
    """
    ends_at = time.monotonic() + seconds
    picks = random.Random(seed)
    result = Result()
    seen: set[int] = set()
    todo: list[_Branch] = [(None, None)]
    while todo and result.states < states and time.monotonic() < ends_at:
        at = picks.randrange(len(todo))
        todo[at], todo[-1] = todo[-1], todo[at]
        branch = todo.pop()
        path = _path(branch)
        worlds = [make(setup)]
        try:
            world = _go(worlds[0], path)
            result.steps += len(path)
            while (key := world.key()) not in seen:
                seen.add(key)
                result.states += 1
                actions = world.actions()
                if all(actor.alive != actor.begun for actor in world.actors):
                    result.endings += 1
                    world.finish()
                    if not actions:
                        break
                    worlds.append(make(setup))
                    world = _go(worlds[-1], path)
                if not actions:
                    break
                here, branch = branch, (branch, actions[0])
                todo += [(here, action) for action in actions[1:]]
                path.append(actions[0])
                world.apply(actions[0])
                result.steps += 1
        except Violation as violation:
            result.violation, result.story = str(violation), shrunk(make, setup, path, str(violation))
            return result
        finally:
            for world in worlds:
                world.close()
    result.complete = not todo
    return result


_Branch = tuple[Any, Action | None]
"""What was done before, and what is done then."""


def _path(branch: _Branch) -> list[Action]:
    path = []
    before, action = branch
    while action is not None:
        path.append(action)
        before, action = before
    return path[::-1]


def simulate(make: Make, setup: Setup, seed: int, *, steps: int = 2000) -> Result:
    """One run, picked at random: the same seed, the same run."""
    picks = random.Random(seed)
    world = make(setup)
    path: list[Action] = []
    result = Result(complete=True)
    try:
        while len(path) < steps and (actions := world.actions()):
            path.append(_picked(picks, actions, path[-1][0] if path else ""))
            world.apply(path[-1])
        if all(not actor.alive or not actor.begun for actor in world.actors):
            world.finish()
    except Violation as violation:
        result.violation, result.story = str(violation), shrunk(make, setup, path, str(violation))
    finally:
        world.close()
    result.steps = len(path)
    return result


def first_violation(make: Make, setup: Setup, *, runs: int, seconds: float = 1e9, seed: int = 0) -> Result:
    """Random runs with one seed after the other, until one of them violates something."""
    ends_at = time.monotonic() + seconds
    result = Result()
    for count in range(runs):
        result = simulate(make, setup, seed + count)
        result.runs = count + 1
        if result.violation or time.monotonic() > ends_at:
            break
    return result


def _picked(picks: random.Random, actions: list[Action], last: str) -> Action:
    """Mostly whoever was at work goes on: few changes from one to another do most harm, and runs get further."""
    going_on = [action for action in actions if action[0] == last and last != "time"]
    if going_on and picks.random() < _GOES_ON:
        return picks.choice(going_on)
    who = picks.choice(sorted({action[0] for action in actions}))
    return picks.choice([action for action in actions if action[0] == who])


def violated(make: Make, setup: Setup, path: list[Action]) -> str:
    """What is violated on the way; nothing where the path cannot be gone any further."""
    world = make(setup)
    try:
        for action in path:
            if action not in world.actions():
                return ""
            world.apply(action)
    except Violation as violation:
        return str(violation)
    finally:
        world.close()
    return ""


def _go(world: World, path: list[Action]) -> World:
    for action in path:
        world.apply(action)
    return world


def narrated(make: Make, setup: Setup, story: list[Action]) -> list[str]:
    """The story, each action with the step that it was about."""
    world = make(setup)
    lines = []
    for who, how in story:
        actor = next((actor for actor in world.actors if actor.name == who), None)
        lines.append(f"{who}: {actor.label} {how}" if actor is not None else f"{who} {how}")
        try:
            world.apply((who, how))
        except Violation as violation:
            lines.append(str(violation))
    world.close()
    return lines


def shrunk(make: Make, setup: Setup, path: list[Action], violation: str) -> list[Action]:
    """A story of the same violation from which nothing more can be left out."""
    shorter = True
    while shorter:
        shorter = False
        for length in (8, 4, 2, 1):
            for at in range(len(path) - length, -1, -1):
                attempt = _violating(make, setup, path[:at] + path[at + length :], violation)
                if attempt is not None:
                    path, shorter = attempt, True
    return path


def _violating(make: Make, setup: Setup, path: list[Action], violation: str) -> list[Action] | None:
    """As much of the path as leads to the violation; None where it does not, or cannot be gone."""
    world = make(setup)
    count = 0
    try:
        for count, action in enumerate(path, 1):  # noqa: B007 - where it was violated is asked below
            if action not in world.actions():
                return None
            world.apply(action)
        if all(not actor.alive or not actor.begun for actor in world.actors):
            world.finish()
    except Violation as found:
        return path[:count] if str(found) == violation else None
    finally:
        world.close()
    return None
