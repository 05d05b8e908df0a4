"""Reads the kernel's tables under the mounted proc and returns plain values; knows nothing of reports.

proc.py finds the tables and reads files. The others are named after what they read:

- dev.py: `net/dev`, the interfaces' counters
- lower.py: `net/vlan/`, `net/bonding/`: which interface carries another one's traffic
- sockets.py: `net/tcp`, `net/tcp6`, `net/udp`, `net/udp6`; with sample.py (a sample of the connections) and ports.py
  (sets of listening ports)
- addresses.py, address_proof.py: `net/if_inet6`, `net/fib_trie`, `net/route`: which interface has an address
- host.py: `stat`, `meminfo`, `loadavg`, `uptime`: the custom metrics
"""
