"""LLMBar: can a judge tell a response that follows an instruction from one that does not?"""
