"""The arms' artifacts side by side: built once, rendered for terminal, Markdown, HTML and JSON.

build makes the report, sections say it, render shows it; schema reads and writes report.json;
wording, figures and svg are what sections are made of.
"""
