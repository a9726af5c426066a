"""Views of a report: page, summary, table side by side, pictures."""
