"""Stored runs on new images: prediction, heat-maps and the scikit-learn detector."""
