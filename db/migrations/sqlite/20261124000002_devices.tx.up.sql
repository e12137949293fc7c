-- The sessions a node left open, by how soon they expire after its last beat.
CREATE INDEX falcon_sessions_node ON falcon_sessions (node, expiry_ms) WHERE node <> '';
