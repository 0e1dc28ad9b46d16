"""What runs in the sandbox, beside a student's code; in reach of it, so it holds no answers.

Inside, this folder is on the path: its modules are imported by their bare names.
"""
