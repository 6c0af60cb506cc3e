"""L2, what lies on disk: inputs, partition files, shuffle blocks, and the durable job store."""
