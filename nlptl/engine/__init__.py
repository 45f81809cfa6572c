"""The one loop, batcher, embedder and checkpoint format; the only room that imports accelerate."""
