"""Copies of the demo's model whose files look whole and whose scores are wrong, and copies that
are changed but sound.
"""
