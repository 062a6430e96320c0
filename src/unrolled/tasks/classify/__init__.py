"""Many to one: the class of a text or of a sequence of numbers."""
