"""The report: one page about one run, and its figures as files.

inputs     what the stages before left on disk
siblings   other models whose numbers compare, as MLflow knows them
decoded    what the model makes of codes
blocks     what a panel is made of
panels     one function a panel of the page
summary    the top of the page
page       panels -> HTML that needs no other file and no network
tables     tables as CSV
build      inputs -> the report's folder
vega       the scripts that draw charts in a browser

A figure that needs no model is drawn by `vaebalance.figures`.
"""
