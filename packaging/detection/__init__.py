"""Security profiles on recorded reports: what Device Defender Detect would have alarmed on.

command_line.py  the flags of detect.py
profile.py     reads and checks a profile, with botocore's model of the service as well
recordings.py  reads recordings into a table of reports, through places.py (files and things), sniff.py and
               decompress.py (what a file is), documents.py and reading.py (records), shapes.py, records.py and
               batches.py (their types, as columns) and parquet.py; worker.py is where other processes begin;
               record_counts.py counts what was read, progress.py shows how far it is
columns.py     the steps from there to runs of violations, as expressions; duck.py runs them in DuckDB
engines.py     Spark in DuckDB's place, and Athena's SQL
fleet.py       the devices of a table of reports, and the datapoints of their metrics
judge.py       judges a fleet; the rules are those of connector/detect, the engine on the device
replay.py      the outcome of judging (outcome.py), with what a person should know about it
summary.py     the outcome of one device as text, table.py that of a fleet; plot.py draws it, page.py is for a browser
suggest.py     a profile from what a fleet normally does; resolve.py: percentiles as numbers
reports.py     one report in JSON
watch.py       alarms as they come, from a broker or standard input
"""
