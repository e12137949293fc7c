-- falcon_notify rejects the user IDs "." and "..", as the API does, because they cannot be part
-- of a URL. The rest is as in the first migration.
CREATE OR REPLACE FUNCTION falcon_notify(user_id text, title text, message text, kind text DEFAULT 'message', data jsonb DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    result bigint;
BEGIN
    IF user_id IS NULL OR user_id !~ '^[A-Za-z0-9._:@|-]{1,128}$' THEN
        RAISE EXCEPTION 'falcon_notify: user_id has 1 to 128 characters of A-Z a-z 0-9 . _ : @ | -' USING ERRCODE = '22023';
    ELSIF user_id IN ('.', '..') THEN
        RAISE EXCEPTION 'falcon_notify: user_id is neither . nor ..' USING ERRCODE = '22023';
    ELSIF title IS NULL OR title !~ '[^[:space:]]' OR char_length(title) > 255 THEN
        RAISE EXCEPTION 'falcon_notify: title has 1 to 255 characters' USING ERRCODE = '22023';
    ELSIF message IS NULL OR message !~ '[^[:space:]]' OR char_length(message) > 4000 THEN
        RAISE EXCEPTION 'falcon_notify: message has 1 to 4000 characters' USING ERRCODE = '22023';
    ELSIF kind IS NULL OR kind NOT IN ('message', 'report.status') THEN
        RAISE EXCEPTION 'falcon_notify: kind is not known' USING ERRCODE = '22023';
    ELSIF data IS NOT NULL AND (jsonb_typeof(data) <> 'object' OR octet_length(data::text) > 4096) THEN
        RAISE EXCEPTION 'falcon_notify: data is a JSON object of at most 4096 bytes' USING ERRCODE = '22023';
    ELSIF data IS NOT NULL AND jsonb_path_exists(data, 'strict $.**{32} ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE EXCEPTION 'falcon_notify: data nests at most 32 levels' USING ERRCODE = '22023';
    END IF;
    -- Every argument has its type: no function of another signature can be meant.
    SELECT a.seq INTO result FROM falcon_append(
        ARRAY[0], ARRAY[user_id], ARRAY[kind], ARRAY[title], ARRAY[message], ARRAY[0::bigint], ARRAY[0::smallint],
        ARRAY[coalesce(data::text, '')], '{}'::int[], '{}'::bigint[], '{}'::smallint[], '{}'::text[], '{}'::text[],
        '{}'::int[], '{}'::text[], '{}'::text[], '{}'::text[],
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint, ''::text, 0) a;
    RETURN result;
END
$$;

-- CREATE OR REPLACE keeps a function's owner and grants, but not these settings.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION falcon_notify SECURITY DEFINER SET search_path = %I, pg_temp', current_schema());
END
$$;
