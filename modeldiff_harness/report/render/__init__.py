"""Sections → a page, Markdown, a terminal.

sections: those of a report, made by their plugins; plain_text: untrusted text made harmless;
html, markdown, terminal: the formats; write: the files of a report.
"""
