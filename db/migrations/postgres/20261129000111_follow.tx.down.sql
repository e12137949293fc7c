DROP FUNCTION falcon_follow;
