"""Sections → terminal, Markdown, HTML and the files of a report."""
