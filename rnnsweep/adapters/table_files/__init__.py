"""Trackers that are plain tables: CSV and Parquet files that spreadsheets and data frames open as they are."""
