"""SavedModels, frozen graphs and TFLite files to ONNX, by tf2onnx."""
