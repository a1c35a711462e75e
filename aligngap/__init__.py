"""aligngap: measure, explain and close the modality gap of CLIP-style models."""
