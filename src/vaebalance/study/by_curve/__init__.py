"""Answer a study's question from one curve: `tune.method: curve`.

question   reads the question of section `tune`, and refuses one that a curve cannot answer
answer     `CurveStudy`: the β that the objective chooses on the curve
ask        `vaebalance study` with this method: answer, list, promote
"""
