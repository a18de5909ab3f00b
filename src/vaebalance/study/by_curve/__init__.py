"""A study's question, answered from one curve: `tune.method: curve`.

question   what `tune` asks, refused where a curve cannot answer it
answer     the β that the objective picks on the curve
command    what the arguments of pipelines/tune.py ask for: answer, list, promote
"""
