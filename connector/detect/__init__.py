"""Judges measurements by security profiles of AWS IoT Device Defender Detect, where they are made.

The only definition of Detect's rules in this project. The connector, the local core and packaging/detect.py use it.
Standard library, Python 3.7 or later; imported only where a profile is given. One measurement goes through:

    profile.py      the JSON of `aws iot create-security-profile --cli-input-json` -> checked behaviors
    measurement.py  what was read at one moment, by metric
    datapoints.py   a metric's readings -> datapoints; traffic is summed over durationSeconds
    conformity.py   a datapoint -> what of it is not normal (networks.py: lookup of addresses in CIDRs)
    alarm.py        datapoints in a row -> alarm begins, clears or is invalidated
    engine.py       all behaviors of all profiles, and the state that survives a restart
    event.py        the message about a change of an alarm, in the shape of the service's
"""
