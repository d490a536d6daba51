"""The result as Markdown for people."""

from benchmarks.tle.result import aims_table, parts_table, reached, table
from benchmarks.tle.rounds import Runner
from benchmarks.tle.variants import AIMS

_TITLE = "# Weights that follow the answer, against the LoRA-TLE reference loop"

_WHAT = (
    "New tokens a second over answers of {tokens} tokens, for short prompts, each request another "
    "one: SmolLM2-135M, the four demo adapters (rank 8, four modules), greedy. In brackets: how "
    "many times the reference."
)

_HOW = """\
- **The engine** decodes in bfloat16; routing and prefill count. All variants weigh by the
  reference's rule (policy kind `tle`, window `head`, combination `linear`).
- **The reference** runs in {dtype}, makes one request at a time, and embeds by MiniLM before each
  token. Tokens timed in each stretch: {reference}, at its start, where the prefix is shortest, and
  after one that is not timed; both favour the reference.
- **Turns.** Every system decodes a stretch of {stretch} tokens before any goes on to the next one;
  rounds through the whole answer: {rounds}. The machine drifts, so that a ratio is taken within a
  round, then the median counts. Beside it stands the median of the ratios within each stretch,
  which leaves out what only the first one costs (routing, prefill)."""


def markdown(runner: Runner, dtype: str, about: str) -> str:
    """All tables; ``about`` says what was run and where."""
    plan = runner.plan
    how = _HOW.format(
        dtype=dtype, reference=plan.reference, stretch=plan.stretch, rounds=plan.rounds
    )
    parts = [
        _TITLE,
        about,
        _WHAT.format(tokens=plan.tokens),
        table(runner.speeds),
        how,
        aims_table(reached(runner.speeds, AIMS)),
        parts_table(runner.spent, runner.counted),
    ]
    return "\n\n".join(parts) + "\n"
