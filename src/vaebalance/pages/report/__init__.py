"""The report: one page about one run, with its figures and tables as files.

inputs           outputs of the earlier stages, read from disk
comparable_runs  other models with comparable numbers, from MLflow
sample_images    the test images to show, and their names
panels           one function per panel of the page
summary          the top of the page
trade_off        the slider over β within a report
build            the report's folder
"""
