DROP INDEX falcon_connections_since;
