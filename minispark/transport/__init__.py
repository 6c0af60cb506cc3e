"""L2, the wires: framing, messages, handshake, connections, the HTTP server and its router."""
