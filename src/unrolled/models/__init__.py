"""Models: a sequence layer between what is read and what is predicted, one file a configuration."""
