"""Images: who has them (sources), how they are decoded, batched (stream) and augmented."""
