"""A whole class: from the folder that a platform exports to grades that it imports."""
