"""Security profiles on recorded reports: what Device Defender Detect would have alarmed on.

profile.py   reads and checks a profile, with botocore's model of the service as well
reports.py   reads recorded reports
replay.py    judges a recording; the rules are those of connector/detect, the engine on the device
summary.py   the outcome as text; plot.py draws it
suggest.py   a profile from what a device normally does; resolve.py: percentiles as numbers
watch.py     alarms as they come, from a broker or standard input
"""
