"""What every request and every answer passes: keys, limits, bodies, the shape of errors."""
