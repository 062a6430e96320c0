"""Many to many, aligned: a tag for every word of a sentence."""
