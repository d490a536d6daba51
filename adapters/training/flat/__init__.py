"""Every method in one flat file, to read. To train, run ``loralloy train`` with its name."""
