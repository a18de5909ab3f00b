"""A study's question, answered from one curve: `tune.method: curve`.

question   what `tune` asks, refused where a curve cannot answer it
answer     the β that the objective picks on the curve
ask        `vaebalance study`: answer, list, promote
"""
