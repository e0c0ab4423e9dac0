"""convkit-vision: images as calibration data, and metrics on labelled images."""
