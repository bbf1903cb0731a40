"""Search for best-matching units, in NumPy or in TensorFlow."""
