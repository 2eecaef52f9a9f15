"""`Report` → sections: the text, tables and figures of the built-in sections."""
