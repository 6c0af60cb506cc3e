"""L1, metrics: windows of latencies and the rendering of figures. Pure."""
