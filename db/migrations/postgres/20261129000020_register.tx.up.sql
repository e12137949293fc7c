-- The node whose connection was replaced by that of the row; '' if there was none.
ALTER TABLE falcon_connections ADD COLUMN replaced text NOT NULL DEFAULT '';

-- falcon_register maintains the list of live connections and stores orders to end those that a
-- later connection of the same device replaces. Calls of several nodes may run concurrently. A
-- device has one row, whose lock decides between two connections:
--
-- ON CONFLICT DO UPDATE waits for a transaction that has just written the row, locks the newest
-- version, even if that has a higher generation and nothing is updated, and keeps the lock
-- until the commit. So of any two connections of a device, one call comes second and sees what
-- the first one wrote. If the second connection has the higher generation, the call replaces
-- the row and orders the node in it to end the older connection. If it has the lower one, the
-- row stays, and the call orders its own node to end the connection that it opened. Either way,
-- the older connection has an order that is committed together with the list.
--
-- Each call locks rows in the order of the primary key, so two calls cannot deadlock. For that,
-- a call may pass only one list, either closed or opened connections. Nodes of an earlier
-- release pass both; if two such calls deadlock, Postgres aborts one of them.
CREATE OR REPLACE FUNCTION falcon_register(p_node text, o_user text[], o_client text[], o_gen bigint[], o_protocol smallint[],
    o_transport text[], o_remote text[], o_persistent boolean[], o_since bigint[],
    c_user text[], c_client text[], c_gen bigint[], p_reason int)
RETURNS void LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    WITH l AS MATERIALIZED (
        SELECT f.user_id, f.client_id, f.generation FROM unnest(c_user, c_client, c_gen) AS n(u, c, g)
        JOIN falcon_connections f ON f.user_id = n.u AND f.client_id = n.c AND f.generation = n.g
        ORDER BY f.user_id, f.client_id FOR UPDATE OF f
    )
    DELETE FROM falcon_connections f USING l
        WHERE f.user_id = l.user_id AND f.client_id = l.client_id AND f.generation = l.generation;
    -- What a newer connection replaces, wherever it is.
    WITH o AS MATERIALIZED (
        SELECT DISTINCT ON (n.u COLLATE "C", n.c COLLATE "C") n.*
        FROM unnest(o_user, o_client, o_gen, o_protocol, o_transport, o_remote, o_persistent, o_since)
            AS n(u, c, g, protocol, transport, remote, persistent, since)
        ORDER BY n.u COLLATE "C", n.c COLLATE "C", n.g DESC
    ), stored AS (
        INSERT INTO falcon_connections AS f
            (user_id, client_id, generation, node, protocol, transport, remote, persistent, since)
        SELECT o.u, o.c, o.g, p_node, o.protocol, o.transport, o.remote, o.persistent, o.since
        FROM o ORDER BY o.u COLLATE "C", o.c COLLATE "C"
        ON CONFLICT (user_id, client_id) DO UPDATE SET generation = excluded.generation, node = excluded.node,
            protocol = excluded.protocol, transport = excluded.transport, remote = excluded.remote,
            persistent = excluded.persistent, since = excluded.since, replaced = f.node
        WHERE f.generation < excluded.generation
        RETURNING f.user_id, f.client_id, f.generation, f.replaced
    )
    INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at)
        SELECT s.replaced, s.user_id, s.client_id, s.generation, p_reason, falcon_now() FROM stored s WHERE s.replaced <> '';
    -- What came too late: a newer connection is registered already, whose row is locked now.
    INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at)
        SELECT p_node, f.user_id, f.client_id, f.generation, p_reason, falcon_now()
        FROM unnest(o_user, o_client, o_gen) AS n(u, c, g)
        JOIN falcon_connections f ON f.user_id = n.u AND f.client_id = n.c
        WHERE n.g < f.generation;
END
$$;
