DROP FUNCTION falcon_notify(text, text, text, text, jsonb);
DROP FUNCTION IF EXISTS falcon_own_xid(xid8), falcon_hint(text, text);
DROP FUNCTION falcon_append(int[], text[], text[], text[], text[], bigint[], smallint[], text[], int[], bigint[], smallint[],
    text[], text[], int[], text[], text[], text[], bigint, text, int);
DROP TABLE falcon_meta, falcon_revocations, falcon_orders, falcon_connections, falcon_nodes, falcon_sessions, falcon_keys, falcon_reports, falcon_notifications, falcon_inboxes;
DROP SEQUENCE falcon_generation;
