"""Reads what the kernel shows and returns plain values; knows nothing of reports.

There are two sources. The tables under the mounted proc show any network namespace. Where this process shares the
host's, netlink shows the same more exactly and at less cost.

proc.py finds the tables, says whether the network is shared, and reads files. By what the others return:

- sockets: sockets.py from `net/tcp`, `net/tcp6`, `net/udp`, `net/udp6`; sock_diag.py from the kernel (sock_diag(7)).
  Both use socket_rows.py (a decoded row), sample.py (a sample of the connections), ports.py (sets of listening ports)
  and destinations.py (all remote addresses)
- which interface has an address: addresses.py from `net/if_inet6` or rtnetlink(7), address_proof.py from
  `net/fib_trie` and `net/route`
- interfaces and their counters: interfaces.py chooses between links.py (rtnetlink, over netlink.py) and
  interface_tables.py, which reads dev.py (`net/dev`), indexes.py (`net/igmp6` and others) and lower.py (`net/vlan/`,
  `net/bonding/`); edge.py says which of them count, counting.py what a change of the counters means
- custom metrics: host.py from `stat`, `meminfo`, `loadavg`, `uptime`
"""
