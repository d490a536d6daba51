"""How often the router picks the adapter of a prompt's own task, by how centroids are made."""
