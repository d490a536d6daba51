"""What the fields of a body may hold: kinds, sizes, depth, and which are known at all."""
