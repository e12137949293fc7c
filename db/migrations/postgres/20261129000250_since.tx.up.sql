-- For the list of connections by age.
CREATE INDEX falcon_connections_since ON falcon_connections (since, user_id, client_id);
