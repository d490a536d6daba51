"""How well models answer: loss, exact match, choices, refusals, over JSON Lines, with intervals."""
