-- For the sessions that a node left open, in the order of their expiry after its last beat.
CREATE INDEX falcon_sessions_node ON falcon_sessions (node, expiry_ms) WHERE node <> '';
