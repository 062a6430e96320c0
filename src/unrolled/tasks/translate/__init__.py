"""Many to many: a sentence in, another one out."""
