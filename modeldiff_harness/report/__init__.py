"""The arms' artifacts side by side: built once, rendered for terminal, Markdown, HTML and JSON."""
