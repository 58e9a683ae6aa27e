"""The compiled loops over rows, each file with the job it takes and a map of its scratch memory."""
