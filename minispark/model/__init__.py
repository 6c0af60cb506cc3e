"""L0, the nouns. Pure: no module here knows a socket, a file, a clock or a process."""
