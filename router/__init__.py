"""Text in, mixture out: encoders, the centroid index and the policies that weigh adapters."""
