"""Graphs. Only `runtime` does not import TensorFlow: it loads the other modules when needed."""
