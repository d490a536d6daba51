"""From a recipe and what the command line sets to the plan of one run."""
