DROP INDEX falcon_sessions_node;
