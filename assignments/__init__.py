"""The assignments: what is measured, how it is judged, what it is worth. Never shipped."""
