"""The map: grid, neighborhood, schedules, start, clusters and imputation. No TensorFlow."""
