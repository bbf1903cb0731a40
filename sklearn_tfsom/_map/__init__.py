"""The map: grid, neighborhood, schedules, start, clusters and imputation. NumPy only."""
