"""How int8 artifacts are made. One technique, one file.

A technique for TorchScript takes the network and returns a network; one for ONNX takes a file and returns a file.
"""
