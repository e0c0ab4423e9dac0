"""The onnx package's own test models, through every edge out of ONNX; see `__main__`."""
