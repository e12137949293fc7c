DROP FUNCTION falcon_append_plain(text[], text[], text[], text[], bigint[], smallint[], text[], bigint, text);
