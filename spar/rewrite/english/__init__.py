"""What the rewriter knows of English: words and their forms, what can stand for a word, where sentences and clauses end.

Lists and rules, no model and no tagger. Knows no constraints; what changes a response stands in `spar.rewrite`.
"""
