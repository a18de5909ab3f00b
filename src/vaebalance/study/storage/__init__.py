"""Keep a study in a file or a database.

journal           the study's notes and trials in an Optuna study
storage           what a study needs from its storage
file_storage      a file
postgres_storage  a PostgreSQL database, for many machines
location          the storage that the settings name
"""
