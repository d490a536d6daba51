"""The bank's own operator: its schema, its compiled form for CPU and its form in plain torch."""
