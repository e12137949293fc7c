-- The function as in the migration of devices, which runs one call at a time.
CREATE OR REPLACE FUNCTION falcon_register(p_node text, o_user text[], o_client text[], o_gen bigint[], o_protocol smallint[],
    o_transport text[], o_remote text[], o_persistent boolean[], o_since bigint[],
    c_user text[], c_client text[], c_gen bigint[], p_reason int)
RETURNS void LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1704);
    -- What a newer connection replaces, wherever it is.
    INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at)
        SELECT f.node, f.user_id, f.client_id, o.gen, p_reason, falcon_now()
        FROM (SELECT n.u, n.c, max(n.g) AS gen FROM unnest(o_user, o_client, o_gen) AS n(u, c, g) GROUP BY n.u, n.c) o
        JOIN falcon_connections f ON f.user_id = o.u AND f.client_id = o.c
        WHERE f.generation < o.gen AND NOT EXISTS (
            SELECT 1 FROM unnest(c_user, c_client, c_gen) AS n(u, c, g)
            WHERE n.u = f.user_id AND n.c = f.client_id AND n.g = f.generation);
    INSERT INTO falcon_connections AS f
            (user_id, client_id, generation, node, protocol, transport, remote, persistent, since)
        SELECT DISTINCT ON (n.u, n.c) n.u, n.c, n.g, p_node, n.protocol, n.transport, n.remote, n.persistent, n.since
        FROM unnest(o_user, o_client, o_gen, o_protocol, o_transport, o_remote, o_persistent, o_since)
            AS n(u, c, g, protocol, transport, remote, persistent, since)
        ORDER BY n.u, n.c, n.g DESC
        ON CONFLICT (user_id, client_id) DO UPDATE SET generation = excluded.generation, node = excluded.node,
            protocol = excluded.protocol, transport = excluded.transport, remote = excluded.remote,
            persistent = excluded.persistent, since = excluded.since
        WHERE f.generation < excluded.generation;
    -- What came too late: a newer connection is known already.
    INSERT INTO falcon_orders (node, user_id, client_id, generation, reason, at)
        SELECT p_node, f.user_id, f.client_id, f.generation, p_reason, falcon_now()
        FROM unnest(o_user, o_client, o_gen) AS n(u, c, g)
        JOIN falcon_connections f ON f.user_id = n.u AND f.client_id = n.c
        WHERE n.g < f.generation;
    DELETE FROM falcon_connections f USING unnest(c_user, c_client, c_gen) AS n(u, c, g)
        WHERE f.user_id = n.u AND f.client_id = n.c AND f.generation = n.g;
END
$$;

ALTER TABLE falcon_connections DROP COLUMN replaced;
