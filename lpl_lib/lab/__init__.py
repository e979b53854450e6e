"""Experiments: data, models, training, methods, runs and their records."""
