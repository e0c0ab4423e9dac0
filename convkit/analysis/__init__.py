"""Measuring models: evaluation, benchmarks, delegates, profiles, and the limits they are held to."""
