"""ONNX to TFLite and SavedModel by onnx2tf, which lives in an environment of its own."""
