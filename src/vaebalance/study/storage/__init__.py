"""Where a study lies.

journal           the study as plain trials
storage           what the journal asks of the place where it lies
file_storage      a file
postgres_storage  a PostgreSQL database, for many machines
location          which of them the settings name
heartbeat         which processes of a folder are alive
"""
