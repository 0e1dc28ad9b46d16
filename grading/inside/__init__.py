"""Modules that run in the sandbox beside a student's code; it can read them: no answers here.

In the sandbox this folder is on the path, so its modules are imported by their bare names.
"""
