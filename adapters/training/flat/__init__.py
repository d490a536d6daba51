"""Every method in one flat file, to read. To train, run its namesake one folder up."""
