"""Measuring models: evaluation, benchmarks, delegates, profiles, and the limits they must keep."""
