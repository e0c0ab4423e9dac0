"""The conformance kit, and a toy plugin that the tests of the engine use too."""
