-- falcon_notify as in 20261129000110, but when the caller's transaction commits it also tells
-- every node that the state of an inbox may have changed: a superseded notification has to
-- disappear from the screens within a second. For their own changes, nodes send this hint
-- themselves after the commit. Nodes of the previous release ignore it.
CREATE OR REPLACE FUNCTION falcon_notify(user_id text, title text, message text, kind text DEFAULT 'message', data jsonb DEFAULT NULL,
    url text DEFAULT NULL, replaces text DEFAULT NULL, expires_in bigint DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    -- White space as Unicode has it. Escapes of this form mean the same whatever
    -- standard_conforming_strings is in the caller's session.
    blanks CONSTANT text := E' \t\n\u000B\f\r\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000';
    plain CONSTANT boolean := url IS NULL AND replaces IS NULL AND expires_in IS NULL;
    result bigint;
BEGIN
    IF jsonb_typeof(data) = 'null' THEN
        data := NULL;
    END IF;
    IF user_id IS NULL OR user_id !~ '^[A-Za-z0-9._:@|-]{1,128}$' THEN
        RAISE EXCEPTION 'falcon_notify: user_id has 1 to 128 characters of A-Z a-z 0-9 . _ : @ | -' USING ERRCODE = '22023';
    ELSIF user_id IN ('.', '..') THEN
        RAISE EXCEPTION 'falcon_notify: user_id is neither . nor ..' USING ERRCODE = '22023';
    ELSIF coalesce(btrim(title, blanks), '') = '' OR char_length(title) > 255 THEN
        RAISE EXCEPTION 'falcon_notify: title has 1 to 255 characters, not only blanks' USING ERRCODE = '22023';
    ELSIF coalesce(btrim(message, blanks), '') = '' OR char_length(message) > 4000 THEN
        RAISE EXCEPTION 'falcon_notify: message has 1 to 4000 characters, not only blanks' USING ERRCODE = '22023';
    ELSIF kind IS NULL OR kind !~ '^[a-z0-9][a-z0-9._-]{0,63}$' THEN
        RAISE EXCEPTION 'falcon_notify: kind has 1 to 64 characters of a-z 0-9 . _ -, and starts with a letter or a digit' USING ERRCODE = '22023';
    ELSIF data IS NOT NULL AND jsonb_typeof(data) <> 'object' THEN
        RAISE EXCEPTION 'falcon_notify: data is a JSON object' USING ERRCODE = '22023';
    ELSIF data IS NOT NULL AND octet_length(data::text) > 4096 AND 4096 < octet_length(data::text) - (
        SELECT sum(CASE jsonb_typeof(v)
            WHEN 'object' THEN greatest(2 * (SELECT count(*) FROM jsonb_object_keys(CASE jsonb_typeof(v) WHEN 'object' THEN v ELSE '{}' END)) - 1, 0)
            WHEN 'array' THEN greatest(jsonb_array_length(CASE jsonb_typeof(v) WHEN 'array' THEN v ELSE '[]' END) - 1, 0)
            ELSE 0 END) FROM jsonb_path_query(data, 'strict $.**') AS v) THEN
        RAISE EXCEPTION 'falcon_notify: data has at most 4096 bytes' USING ERRCODE = '22023';
    ELSIF data IS NOT NULL AND jsonb_path_exists(data, 'strict $.**{31} ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE EXCEPTION 'falcon_notify: data nests at most 31 levels' USING ERRCODE = '22023';
    ELSIF data IS NOT NULL AND jsonb_path_exists(data,
        'strict $.** ? (@.type() == "number" && (@ >= 1.79769313486231580794e308 || @ <= -1.79769313486231580794e308))') THEN
        RAISE EXCEPTION 'falcon_notify: data holds a number beyond the range of a double' USING ERRCODE = '22023';
    ELSIF char_length(url) > 2048 THEN
        RAISE EXCEPTION 'falcon_notify: url has at most 2048 characters' USING ERRCODE = '22023';
    ELSIF url ~ E'[\\x01-\\x1F\\x7F-\\x9F\\\\]' THEN
        RAISE EXCEPTION 'falcon_notify: url holds a backslash or a control character' USING ERRCODE = '22023';
    ELSIF url !~ '^(/([^/]|$)|https?://[^/?#@ ]+([/?#]|$))' THEN
        RAISE EXCEPTION 'falcon_notify: url is https://…, http://… or a path that starts with one /, and has no user name' USING ERRCODE = '22023';
    ELSIF replaces = '' OR char_length(replaces) > 128 THEN
        RAISE EXCEPTION 'falcon_notify: replaces has 1 to 128 characters' USING ERRCODE = '22023';
    ELSIF starts_with(replaces, 'report-') THEN
        RAISE EXCEPTION 'falcon_notify: replaces does not begin with "report-", which is reserved' USING ERRCODE = '22023';
    ELSIF expires_in NOT BETWEEN 1 AND 31536000 THEN
        RAISE EXCEPTION 'falcon_notify: expires_in is 1 to 31536000 seconds' USING ERRCODE = '22023';
    END IF;
    -- Every argument has its type: no function of another signature can be meant.
    SELECT a.seq INTO result FROM falcon_append(
        ARRAY[0], ARRAY[user_id], ARRAY[kind], ARRAY[title], ARRAY[message], ARRAY[0::bigint], ARRAY[0::smallint],
        ARRAY[coalesce(data::text, '')], ARRAY['sql'],
        CASE WHEN plain THEN NULL::text[] ELSE ARRAY[coalesce(url, '')] END,
        CASE WHEN plain THEN NULL::text[] ELSE ARRAY[coalesce(replaces, '')] END,
        CASE WHEN plain THEN NULL::bigint[] ELSE ARRAY[coalesce(expires_in, 0) * 1000] END,
        '{}'::int[], '{}'::bigint[], '{}'::smallint[], '{}'::text[], '{}'::text[],
        '{}'::int[], '{}'::text[], '{}'::text[], '{}'::text[],
        falcon_now(), ''::text, 0) a;
    IF replaces IS NOT NULL THEN
        PERFORM pg_notify('falcon_hint', '{"n":"","h":[{"t":"s","u":' || to_json(user_id) || '}]}');
    END IF;
    RETURN result;
END
$$;

-- CREATE OR REPLACE keeps a function's owner and grants, but not these settings.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION falcon_notify(text,text,text,text,jsonb,text,text,bigint) SECURITY DEFINER SET search_path = %I, pg_temp', current_schema());
END
$$;
