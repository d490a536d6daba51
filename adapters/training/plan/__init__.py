"""From a recipe and options to a job."""
