"""The report: one page about one run, and its figures as files.

inputs           what the earlier stages left on disk
comparable_runs  other models whose numbers compare, as MLflow knows them
sample_images    which test images are shown, and their labels
panels           one function a panel of the page
summary          the top of the page
trade_off        the slider within a report
build            inputs to the report's folder
"""
