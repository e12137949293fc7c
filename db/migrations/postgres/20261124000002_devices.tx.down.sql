DROP FUNCTION falcon_register(text, text[], text[], bigint[], smallint[], text[], text[], boolean[], bigint[],
    text[], text[], bigint[], int);
DROP FUNCTION falcon_advance(text[], text[], bigint[], bigint[], bigint[], bigint[], boolean[], bigint[]);
DROP FUNCTION falcon_subscribe(text, text, bigint, int, boolean, int, bigint);
DROP FUNCTION falcon_open(text, text, text, boolean, bigint, int, bigint);
DROP INDEX falcon_sessions_node;
DROP FUNCTION falcon_now();
