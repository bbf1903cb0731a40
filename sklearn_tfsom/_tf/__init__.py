"""The TensorFlow room: the only one that imports it, and only when it is first needed."""
