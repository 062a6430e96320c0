"""Problems whose chance and solved levels are known."""
