"""How many steps all traces may hold together."""

from server.traces.budget import TraceBudget
from server.traces.settings import TraceSettings


def test_one_trace_takes_so_many_steps() -> None:
    budget = TraceBudget(TraceSettings(max_trace_steps=2), lambda: False)
    assert [budget.take(size) for size in range(4)] == [True, True, False, False]
    assert budget.steps == 2


def test_a_full_budget_makes_room_or_takes_no_more() -> None:
    old = [2, 1]

    def make_room() -> bool:
        if not old:
            return False
        budget.give_back(old.pop(0))
        return True

    budget = TraceBudget(TraceSettings(max_steps=4), make_room)
    assert [budget.take(size) for size in range(8)] == [True] * 7 + [False]
    assert (budget.steps, old) == (4, [])


def test_one_whose_steps_make_no_room_goes_and_the_next_one_too() -> None:
    traces = [0, 0, 3]

    def make_room() -> bool:
        budget.give_back(traces.pop(0))
        return True

    budget = TraceBudget(TraceSettings(max_steps=3), make_room)
    assert all(budget.take(size) for size in range(4))
    assert (budget.steps, traces) == (1, [])
