"""What an engineer would write without convkit: one script per environment and step.

They call the same tools with the same settings on the same data, and check nothing.
"""
