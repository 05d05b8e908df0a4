"""The first room: tables of the mounted proc in, plain values out. A module is named after the table it reads."""
