"""How a pair becomes ids. Needs neither torch nor transformers, so that tasks that tokenize load
neither, and travels to them whole.
"""
