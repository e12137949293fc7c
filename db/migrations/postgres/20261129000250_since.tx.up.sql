-- Connections by age, for operators.
CREATE INDEX falcon_connections_since ON falcon_connections (since, user_id, client_id);
