"""Transforms where people keep embeddings, a room each: docs/vector_stores.md has them all."""
