"""One to many: words for a picture or a recording."""
