"""Language models: the next token of one long text."""
