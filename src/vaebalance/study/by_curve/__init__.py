"""Answer a study's question from one curve: `tune.method: curve`.

question   the question of section `tune`, refused where a curve cannot answer it
answer     `CurveStudy`: the β that the objective chooses on the curve
ask        `vaebalance study`: answer, list, promote
"""
