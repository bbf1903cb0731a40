"""Samples: views, pieces, moments, subsamples and mini-batches."""
