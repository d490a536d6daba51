"""What can be named, by whom, kept in step with registry, index and slots."""
