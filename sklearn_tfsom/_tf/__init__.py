"""TensorFlow: graphs and what they need. Imported only when it is needed."""
